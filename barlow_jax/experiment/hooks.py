"""Hooks of a pretraining run; `pretraining.pretrain` states their order."""

from functools import partial
import math
import time

import jax
import numpy as np
import tqdm

from barlow_jax.config.methods import ADVICE, Advice
from barlow_jax.data import splits
from barlow_jax.distributed import exchange
from barlow_jax.evals import features
from barlow_jax.evals.evaluation_data import EvaluationData
from barlow_jax.evals.knn import knn_accuracy
from barlow_jax.experiment.run import Run
from barlow_jax.io import log
from barlow_jax.optim import optimizers
from barlow_jax.training import preemption
from barlow_jax.training.collapse_warning import CollapseWarner
from barlow_jax.training.loop import Hook, every
from barlow_jax.training.progress_hook import Progress
from barlow_jax.training.skipping import SkipWatch
from barlow_jax.types import FeatureTable, Metrics, TrainState
from barlow_jax.workdir.status import Status

_FIRST_STEPS = 5  # steps after the first one whose speed is logged at once


def skip_watch(run: Run, state: TrainState) -> SkipWatch:
    """Return the hook that stops the run after too many skipped steps in a row."""
    return SkipWatch(
        run.workdir / "results" / "skipped.json",
        max_in_a_row=run.experiment.config.train.max_skipped_steps,
        last_finite=run.first_step,
        num_skipped=run.first_step - int(optimizers.num_updates(state.opt_state)),
        num_steps=run.num_steps,
        gather=run.experiment.layout.replicate,
        save=run.checkpoints.save,
        newest_checkpoint=lambda: max(run.checkpoints.steps, default=-1),
        advice=ADVICE.get(run.experiment.config.objective.name, Advice()).not_finite,
    )


def end_of_compilation(run: Run) -> Hook:
    """Mark the end of this start's first step, which has compiled, and save the compiled programs.

    The loss of that step, and the speed of the steps after it, are logged before the first metrics row.
    """
    since = time.monotonic()
    last = min(run.first_step + 1 + _FIRST_STEPS, run.num_steps)

    def hook(done: int, state: TrainState, metrics: Metrics) -> None:
        nonlocal since
        if done == run.first_step + 1:
            loss, seconds = float(metrics["loss"]), time.monotonic() - since
            since = time.monotonic()
            run.status.first_step_done()
            run.save_compiled()
            log.info(f"step {done}/{run.num_steps}  loss {loss:.4g}  {seconds:.1f} s with compilation")
        elif done == last and done < run.experiment.config.train.log_every_steps:
            loss, rate = float(metrics["loss"]), _FIRST_STEPS / (time.monotonic() - since)
            left = tqdm.tqdm.format_interval((run.num_steps - done) / rate)
            speed = f"{rate * run.sampler.batch_size:.0f} images/s"
            log.info(f"step {done}/{run.num_steps}  loss {loss:.4g}  {speed}  {left} left")

    return hook


def log_metrics(run: Run, progress: Progress) -> Hook:
    """Every `log_every_steps`, write metrics and status, and check whether the last save failed."""

    def hook(done: int, state: TrainState, metrics: Metrics) -> None:
        progress(done, state, metrics)
        run.status.log(done, run.writer.latest)
        run.checkpoints.check_save()

    return every(run.experiment.config.train.log_every_steps, hook, last=run.num_steps)


def progress(run: Run) -> Progress:
    """Return the writer of metrics rows and progress lines for `log_metrics`; the caller closes it."""
    rates = run.experiment.learning_rates(run.sampler)
    return Progress(
        run.writer,
        first_step=run.first_step,
        num_steps=run.num_steps,
        batch_size=run.sampler.batch_size,
        epoch=run.sampler.epoch,
        data_wait_s=lambda: run.prefetcher.wait_s,
        learning_rates=lambda step: {
            f"learning_rate_{name}": float(rate(step)) for name, rate in rates.items()
        },
        decode_failures=run.source.decode_failures.count_before,
        warnings=CollapseWarner(run.experiment.config, run.sampler.steps_per_epoch),
    )


def evaluations(run: Run, data: EvaluationData | None) -> list[Hook]:
    """Return the k-NN evaluation of the encoder during training; none without data for it."""
    if data is None:
        return []
    hook = _outside_steps(run.status, "evaluating", _knn(run, data))
    return [every(run.steps(run.experiment.config.monitor.every_epochs), hook, last=run.num_steps)]


def save_checkpoint(run: Run) -> Hook:
    """Start to save a checkpoint whenever one is due: by epochs, or by the clock of process 0."""
    saving = _outside_steps(run.status, "saving", lambda done, state, metrics: run.checkpoints.save(state))
    config = run.experiment.config.checkpoint
    if config.every_minutes is None:
        return every(run.steps(config.every_epochs), saving, last=run.num_steps)
    keep_steps = config.keep_every_epochs and run.steps(config.keep_every_epochs)
    newest = time.monotonic()

    def hook(done: int, state: TrainState, metrics: Metrics) -> None:
        nonlocal newest
        due = done == run.num_steps or bool(keep_steps and done % keep_steps == 0)
        if not due and done % run.experiment.config.train.log_every_steps == 0:
            elapsed = time.monotonic() - newest
            due = bool(exchange.call_on_first(lambda: int(elapsed >= 60 * config.every_minutes)))
        if due:
            saving(done, state, metrics)
            newest = time.monotonic()

    return hook


def run_missed_evaluation(run: Run, evaluations: list[Hook], state: TrainState) -> None:
    """Run the evaluation that a preemption interrupted: the checkpoint exists, its metrics row does not."""
    if not (evaluations and run.first_step):
        return
    if exchange.call_on_first(lambda: "knn_top1" not in run.writer.first_step_names):
        hook = preemption.with_stop_point(evaluations, run.checkpoints.save, last_step=run.num_steps)
        hook(run.first_step, state, {})


def _outside_steps(status: Status, activity: str, hook: Hook) -> Hook:
    """Return the hook with its time excluded from that of the steps."""

    def timed(done: int, state: TrainState, metrics: Metrics) -> None:
        jax.block_until_ready(metrics)  # the step under way still counts as a step
        with status.during(activity, done):
            hook(done, state, metrics)

    return timed


def _knn(run: Run, data: EvaluationData) -> Hook:
    """Return a hook that measures k-NN accuracy on a fixed subset of both splits."""
    experiment, config = run.experiment, run.experiment.config.monitor
    encoder = experiment.jitted_encoder()

    def table(source: splits.Split, state: TrainState) -> FeatureTable:
        subset = np.random.default_rng(0).permutation(source.num_examples)[: config.max_images]
        batches = experiment.eval_batches(source, np.sort(subset))
        encode = partial(encoder, *state.encoder())
        return features.extract(encode, preemption.with_stop_points(batches), experiment.layout)

    def hook(done: int, state: TrainState, metrics: Metrics) -> None:
        del metrics
        try:
            train, test = table(data.train, state), table(data.test, state)
            data.check_classes(train.labels, test.labels)
        except features.NotMeasurableError as error:
            log.warning(f"step {done}: no k-NN accuracy: {error}")
            run.writer.write(done, {"knn_top1": math.nan})
            return
        test = test._replace(own=data.own_rows(train.index, test.index))
        values = knn_accuracy(train, test, ks=(config.k,))[config.k]
        run.writer.write(done, {f"knn_{name}": value for name, value in values.items()})
        # Equal unless the classes are imbalanced.
        top1, balanced = values["top1"], values["balanced_accuracy"]
        more = f", balanced {balanced:.2%}" if abs(balanced - top1) > 0.005 else ""
        log.info(f"step {done}  k-NN (k {config.k}) top-1 {top1:.2%}{more}")

    return hook
