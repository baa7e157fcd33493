"""Hooks of a pretraining run; `pretraining.pretrain` states their order."""

from collections.abc import Mapping
import contextlib
import time

import jax
import tqdm

from barlow_jax.distributed import exchange
from barlow_jax.evals.evaluation_data import EvaluationData
from barlow_jax.experiment import candidates, monitor
from barlow_jax.experiment.run import Run, RunData
from barlow_jax.io import log
from barlow_jax.training import preemption
from barlow_jax.training.diagnostics import DATA_WAIT_FRACTION, CollapseWarner
from barlow_jax.training.loop import Hook, every
from barlow_jax.training.progress import progress_bar
from barlow_jax.types import Metrics, TrainState
from barlow_jax.workdir import selection
from barlow_jax.workdir.status import Status

_DATA_WAIT = (
    "the devices wait for data {fraction:.0%} of the time. Use more or faster cores on this host "
    "(config.data.threads=0 uses all of them); config.data.augment_on=device, which moves color and blur to "
    "the accelerator; config.data.cache, if memory allows; a larger config.data.prefetch, if the waits come "
    "in bursts; the data set as array_record on a local disk (launch/prepare_data.sh); or a smaller "
    "config.data.image_size."
)
_FIRST_STEPS = 5  # steps after the first one whose speed is logged at once


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


def evaluations(run: Run, labeled: EvaluationData | None, data: RunData) -> dict[str, Hook]:
    """Return the evaluations of the encoder during training, by the metric that each writes.

    k-NN accuracy needs `labeled`. The others take the evaluation split, or the training split if that one is
    missing or has fewer images than there are processes.
    """
    config = run.experiment.config.monitor
    if not config.every_epochs:
        return {}
    run.checkpoints.best_step = monitor.best_step(run, run.first_step)
    enough = data.test is not None and data.test.num_examples >= run.experiment.shard.processes
    held_out = data.test if enough else data.train
    measures = {"rankme": monitor.label_free(run, held_out)}
    if labeled is not None:
        measures["knn_top1"] = monitor.knn(run, labeled)
    if run.experiment.config.adapt.weights:
        measures[selection.ADAPTED] = candidates.compare(run, held_out, labeled)
    interval = run.steps(config.every_epochs)
    return {
        name: every(interval, _outside_steps(run.status, "evaluating", measure), last=run.num_steps)
        for name, measure in measures.items()
    }


def judgment(run: Run) -> list[Hook]:
    """Return the hook that logs the verdict on the run after its evaluations; none without those."""
    epochs = run.experiment.config.monitor.every_epochs
    return [every(run.steps(epochs), monitor.judge(run), last=run.num_steps)] if epochs else []


def early_stop(run: Run) -> list[Hook]:
    """Return the hook that ends a saturated run; none unless the config asks for it."""

    def hook(done: int, state: TrainState, metrics: Metrics) -> None:
        if done < run.num_steps and monitor.is_saturated(run):
            run.checkpoints.save(state)
            raise preemption.Finished

    config = run.experiment.config
    return [every(run.steps(config.monitor.every_epochs), hook)] if config.train.stop_when_saturated else []


def has_stopped(run: Run) -> bool:
    """Return whether an earlier start of the run has ended it early."""
    return bool(run.first_step and early_stop(run) and monitor.is_saturated(run))


def save_checkpoint(run: Run) -> Hook:
    """Start to save a checkpoint whenever one is due: by epochs, or by the clock of process 0."""

    def save(done: int, state: TrainState, metrics: Metrics) -> None:
        if monitor_epochs:
            run.checkpoints.best_step = monitor.best_step(run, done)
        with contextlib.suppress(OSError):  # the save will fail too
            run.source.decode_failures.flush()
        run.checkpoints.save(state)

    config, monitor_epochs = run.experiment.config.checkpoint, run.experiment.config.monitor.every_epochs
    saving = _outside_steps(run.status, "saving", save)
    if config.every_minutes is None:
        return every(run.steps(config.every_epochs), saving, last=run.num_steps)
    keep_steps = config.keep_every_epochs and run.steps(config.keep_every_epochs)
    newest = time.monotonic()

    def hook(done: int, state: TrainState, metrics: Metrics) -> None:
        nonlocal newest
        due = done == run.num_steps or bool(keep_steps and done % keep_steps == 0)
        if monitor_epochs and done % run.steps(monitor_epochs) == 0:
            due |= monitor.best_step(run, done) == done
        if not due and done % run.experiment.config.train.log_every_steps == 0:
            elapsed = time.monotonic() - newest
            due = bool(exchange.call_on_first(lambda: int(elapsed >= 60 * config.every_minutes)))
        if due:
            saving(done, state, metrics)
            newest = time.monotonic()

    return hook


def run_missed_evaluations(run: Run, evaluations: Mapping[str, Hook], state: TrainState) -> None:
    """Run the evaluations that a preemption interrupted: the checkpoint exists, their metrics rows do not."""
    if not (evaluations and run.first_step):
        return
    names = run.writer.first_step_names
    missed = [
        hook
        for name, hook in evaluations.items()
        if exchange.call_on_first(lambda name=name: name not in names)
    ]
    hook = preemption.with_stop_point(missed, run.checkpoints.save, last_step=run.num_steps)
    hook(run.first_step, state, {})


def _outside_steps(status: Status, activity: str, hook: Hook) -> Hook:
    """Return the hook with its time excluded from that of the steps."""

    def timed(done: int, state: TrainState, metrics: Metrics) -> None:
        jax.block_until_ready(metrics)  # the step under way still counts as a step
        with status.during(activity, done):
            hook(done, state, metrics)

    return timed


class Progress:
    """Hook that fetches the metrics, writes them as a row and to the status, and shows the progress.

    Shows a progress bar on a terminal and in notebooks, and log lines elsewhere. Rates cover the time since
    the previous call. Warns of a collapse, and once per run if the devices wait for data, ignoring the first
    interval, in which the input pipeline starts.
    """

    def __init__(self, run: Run):
        self._run, self._warned = run, False
        self._last = (run.first_step, time.monotonic(), 0.0)
        self._learning_rates = run.experiment.learning_rates(run.sampler)
        self._collapse = CollapseWarner(run.flat_config, run.sampler.steps_per_epoch)
        self._bar, self._visible = progress_bar(total=run.num_steps, initial=run.first_step, unit="step")

    def __call__(self, done: int, state: TrainState, metrics: Metrics) -> None:
        """Write the row of step `done` and show it; check whether the last save failed."""
        run, row = self._run, {name: float(value) for name, value in jax.device_get(metrics).items()}
        now, (step, since, waited) = time.monotonic(), self._last
        self._last = (done, now, run.prefetcher.wait_s)
        seconds = max(now - since, 1e-9)
        # A skipped step does not move the schedule.
        updates = max(0, done - 1 - int(row.get("skipped_steps", 0)))
        row |= {f"learning_rate_{name}": float(rate(updates)) for name, rate in self._learning_rates.items()}
        row["epoch"] = run.sampler.epoch(done)
        row["images_per_second"] = (done - step) * run.sampler.batch_size / seconds
        row["data_wait_fraction"] = (self._last[2] - waited) / seconds
        row["decode_failures"] = run.source.decode_failures.count_before(done)
        run.writer.write(done, row)
        rate = f"loss {row['loss']:.4g}  {row['images_per_second']:.0f} images/s"
        line = f"{rate}  waiting for data {row['data_wait_fraction']:.0%}"
        self._bar.set_postfix_str(line, refresh=False)
        self._bar.update(done - self._bar.n)
        if not self._visible:
            left = tqdm.tqdm.format_interval((run.num_steps - done) * seconds / max(done - step, 1))
            log.info(f"step {done}/{run.num_steps}  {line}  {left} left")
        if step != run.first_step and row["data_wait_fraction"] > DATA_WAIT_FRACTION and not self._warned:
            self._warned = True
            log.warning(_DATA_WAIT.format(fraction=row["data_wait_fraction"]))
        # With the rank of the embeddings, which the monitor has measured.
        for message in self._collapse(done, {**run.writer.latest, **row}):
            log.warning(message)
        run.status.log(done, run.writer.latest)
        run.checkpoints.check_save()

    def close(self) -> None:
        """Close the progress bar."""
        self._bar.close()
