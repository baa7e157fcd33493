"""What happens beside the steps of a pretraining run, in its order."""

from collections.abc import Callable
import dataclasses
from functools import partial
import pathlib
import sys

import jax
import numpy as np
import tqdm

from barlow_jax.checkpoints.restore import Checkpoints
from barlow_jax.config.methods import ADVICE, Advice
from barlow_jax.data import splits
from barlow_jax.data.sampler import EpochSampler
from barlow_jax.distributed import exchange
from barlow_jax.evals import features
from barlow_jax.evals.knn import knn_accuracy
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.optim import optimizers
from barlow_jax.training import preemption
from barlow_jax.training.collapse_warning import CollapseWarner
from barlow_jax.training.loop import Hook, every
from barlow_jax.training.prefetch import DevicePrefetcher
from barlow_jax.training.progress_hook import Progress
from barlow_jax.training.skipping import SkipWatch
from barlow_jax.types import FeatureTable, Metrics, TrainState
from barlow_jax.workdir.metrics import MetricsWriter
from barlow_jax.workdir.status import Status


@dataclasses.dataclass(frozen=True)
class Run:
    """One start of a program on a workdir."""

    workdir: pathlib.Path
    experiment: Experiment
    source: splits.Split
    sampler: EpochSampler
    num_steps: int  # updates when the run is done
    first_step: int  # updates done before this start
    checkpoints: Checkpoints
    status: Status
    writer: MetricsWriter

    def every_epochs(self, epochs: float, hook: Hook) -> Hook:
        """The hook after so many epochs each, and at the end."""
        return every(steps_of(self.sampler, epochs), hook, last=self.num_steps)


def steps_of(sampler: EpochSampler, epochs: float) -> int:
    """The nearest number of steps, one at least."""
    return max(1, round(epochs * sampler.steps_per_epoch))


def monitor(run: Run) -> list[Hook]:
    """The k-NN accuracy of the encoder as it is, where the config asks for it."""
    epochs = run.experiment.config.monitor.every_epochs
    return [run.every_epochs(epochs, _apart(run.status, "evaluating", _knn(run)))] if epochs else []


def save(run: Run) -> Hook:
    """Starts to save a checkpoint when one is due."""
    saving = _apart(run.status, "saving", lambda done, state, metrics: run.checkpoints.save(state))
    return run.every_epochs(run.experiment.config.checkpoint.every_epochs, saving)


def first(run: Run, told: Callable[[], None]) -> Hook:
    """Tells when the first step of this start is done: it has compiled."""
    waiting = [True]

    def hook(done: int, state: TrainState, metrics: Metrics) -> None:
        if waiting:
            waiting.clear()
            jax.block_until_ready(metrics)
            run.status.first_step_done()
            told()

    return hook


def log(run: Run, progress: Progress) -> Hook:
    """Metrics, status, and whether a save failed, every `log_every_steps`."""

    def hook(done: int, state: TrainState, metrics: Metrics) -> None:
        progress(done, state, metrics)
        run.status.log(done, run.writer.latest)
        run.checkpoints.check_save()

    return every(run.experiment.config.train.log_every_steps, hook, last=run.num_steps)


def progress(run: Run, feed: DevicePrefetcher) -> Progress:
    """What `log` writes and shows."""
    rates = optimizers.learning_rates(run.experiment.config, run.sampler.steps_per_epoch)
    return Progress(
        run.writer,
        first_step=run.first_step,
        num_steps=run.num_steps,
        batch_size=run.sampler.batch_size,
        steps_per_epoch=run.sampler.steps_per_epoch,
        waited=lambda: feed.waited,
        rates=lambda step: {f"learning_rate_{name}": float(rate(step)) for name, rate in rates.items()},
        decode_failures=run.source.decode_failures.count_before,
        signs=CollapseWarner(run.experiment.config, run.sampler.steps_per_epoch),
    )


def skips(run: Run, state: TrainState) -> SkipWatch:
    """Stops the run after too many steps that were not taken."""
    return SkipWatch(
        run.workdir / "results" / "skipped.json",
        max_in_a_row=run.experiment.config.train.max_skipped_steps,
        start=(run.first_step, run.first_step - int(optimizers.num_updates(state.opt_state))),
        num_steps=run.num_steps,
        gather=run.experiment.layout.replicate,
        save=run.checkpoints.save,
        newest=lambda: max(run.checkpoints.steps, default=-1),
        advice=ADVICE.get(run.experiment.config.objective.name, Advice()).not_finite,
    )


def make_up(run: Run, watch: list[Hook], state: TrainState) -> None:
    """Who was stopped in the midst of an evaluation has saved the step, and owes the row."""
    if (
        watch
        and run.first_step
        and exchange.call_on_first(lambda: "knn_top1" not in run.writer.first_step_names)
    ):
        preemption.saving(watch, run.checkpoints.save, last=run.num_steps)(run.first_step, state, {})


def _apart(status: Status, what: str, hook: Hook) -> Hook:
    """The hook, its time not counted as that of steps."""

    def apart(done: int, state: TrainState, metrics: Metrics) -> None:
        jax.block_until_ready(metrics)  # the step under way is none of its time
        with status.during(what, done):
            hook(done, state, metrics)

    return apart


def _knn(run: Run) -> Hook:
    """On fixed images of both splits."""
    experiment, config = run.experiment, run.experiment.config.monitor
    test = splits.open_split(experiment.config.data, experiment.config.data.eval_split)
    encoder = experiment.jitted_encoder()

    def table(source: splits.Split, state: TrainState) -> FeatureTable:
        chosen = np.random.default_rng(0).permutation(source.num_examples)[: config.max_images]
        batches = experiment.eval_batches(source, np.sort(chosen))
        params, stats = ({"encoder": tree["encoder"]} for tree in (state.params, state.batch_stats))
        return features.extract(
            partial(encoder, params, stats), preemption.heeded(batches), experiment.layout
        )

    def hook(done: int, state: TrainState, metrics: Metrics) -> None:
        del metrics
        accuracy = knn_accuracy(table(run.source, state), table(test, state), ks=(config.k,))[config.k]
        run.writer.write(done, {"knn_top1": accuracy})
        if jax.process_index() == 0:
            tqdm.tqdm.write(f"step {done}  k-NN (k {config.k}) top-1 {accuracy:.2%}", file=sys.stderr)

    return hook
