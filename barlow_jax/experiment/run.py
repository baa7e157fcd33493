"""One start of a pretraining run on a workdir: what is opened for it, and closed in reverse order."""

from collections.abc import Callable, Iterator
import contextlib
import dataclasses
import sys
from typing import Any

import jax

from barlow_jax.checkpoints.restore import Checkpoints, abstract_state, newest_step, open_checkpoints
from barlow_jax.config import overrides, records
from barlow_jax.config.method_facts import method_facts
from barlow_jax.config.schema import Config
from barlow_jax.data import splits
from barlow_jax.data.sampler import EpochSampler, SampleRange
from barlow_jax.distributed import exchange, same_data
from barlow_jax.distributed.mesh import describe_devices
from barlow_jax.errors import UserError
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.io import files, log
from barlow_jax.io.paths import Path
from barlow_jax.training import compilation_cache, device_cache, preemption
from barlow_jax.training.prefetch import DevicePrefetcher
from barlow_jax.types import TrainState
from barlow_jax.workdir import lock, provenance, segments
from barlow_jax.workdir.metrics import MetricsWriter
from barlow_jax.workdir.status import Status


@dataclasses.dataclass(frozen=True)
class RunData:
    """Splits of a run, open."""

    train: splits.Split
    test: splits.Split | None  # evaluation split, if the run is monitored and the split exists
    identities: dict[str, dict[str, Any]]  # by the name of the split: `splits.Identity`
    changes: dict[str, list[str]]  # [old, new] where the newest checkpoint was trained on other examples


def open_data(config: Config, workdir: Path, *, extend: bool) -> RunData:
    """Open the splits of a run on all processes.

    Raises:
      UserError: the training split cannot be opened; the processes read different examples; or, unless
        `extend`, the run in the workdir was trained on others.
    """
    data, opened = config.data, {}
    for name in (data.train_split, *((data.eval_split,) if config.monitor.every_epochs else ())):
        try:
            opened[name] = opened.get(name) or same_data.open_split(data, name)
        except UserError as error:
            if name == data.train_split:
                raise
            log.warning(f"training is monitored on training images, without k-NN accuracy: {error}")
    identities = {name: splits.identify(split)._asdict() for name, split in opened.items()}
    changes = {} if newest_step(workdir) is None else provenance.data_changes(workdir, identities)
    remedy = "Restore the images, use another workdir, or pass --extend to train on with the new ones."
    if method_facts(config.objective.name).image_memory:
        extend, remedy = False, "Restore the images, or use another workdir: the method remembers each image."
    problems = [
        f"--workdir: {workdir} was trained with {old} in {name}, but there are {new} now. {remedy}"
        for name, (old, new) in changes.items()
    ]
    if problems := exchange.all_problems([] if extend else problems):
        raise UserError("\n  ".join(problems))
    return RunData(opened[data.train_split], opened.get(data.eval_split), identities, changes)


@dataclasses.dataclass(frozen=True)
class Run:
    """One start of a pretraining run."""

    workdir: Path
    experiment: Experiment
    source: splits.Split  # training split
    sampler: EpochSampler
    num_steps: int  # updates when the run is complete
    first_step: int  # updates done before this start
    checkpoints: Checkpoints
    status: Status
    prefetcher: DevicePrefetcher  # batches from `first_step` to `num_steps`
    writer: MetricsWriter
    flat_config: dict[str, Any]  # config values by dotted key
    save_compiled: Callable[[], None]  # write new compiled programs to the persistent cache
    check_lock: Callable[[], None]  # raise RunError if another run has taken over the workdir

    def steps(self, epochs: float) -> int:
        """Return the nearest number of steps to a number of epochs, at least one."""
        return _steps(self.sampler, epochs)


@contextlib.contextmanager
def open_run(
    experiment: Experiment, data: RunData, sampler: EpochSampler, workdir: Path
) -> Iterator[tuple[Run, TrainState]]:
    """Open a run on a workdir, and yield it with the state that it starts from.

    Raises:
      UserError: another process uses the workdir, or none of its checkpoints is usable.
    """
    config, num_steps, source = experiment.config, experiment.num_steps(sampler), data.train
    keep, first_process = config.checkpoint, jax.process_index() == 0
    # Outermost: a preempted process exits only when everything below is closed and the last save is complete.
    with preemption.run_scope(), contextlib.ExitStack() as stack:
        # Before the first write: a workdir in use stays as it is.
        locks: list[Callable[[], None]] = []
        exchange.call_on_first(lambda: locks.append(stack.enter_context(lock.acquire(workdir))) or 0)
        if first_process:
            files.remove_drafts(workdir)  # leftovers of a killed process
            files.remove_drafts(workdir / "results", "pretrain.json")
        save_compiled = stack.enter_context(compilation_cache.persistent(config.train.compilation_cache))
        status = Status(workdir, num_steps=num_steps, epoch=sampler.epoch, active=first_process)
        stack.enter_context(status)
        keep_steps = _steps(sampler, keep.keep_every_epochs) if keep.keep_every_epochs else None
        checkpoints = stack.enter_context(
            open_checkpoints(workdir, keep_newest=keep.keep_newest, keep_every_steps=keep_steps)
        )
        state, first_step = _first_state(experiment, sampler, checkpoints)
        if first_process:  # after the restore: a refused workdir keeps its config and provenance
            segment = segments.record(
                workdir, sampler.segment, config, sys.argv[1:], source.num_examples, data.changes
            )
            files.write_json(workdir / "config.json", overrides.to_config_dict(config).to_dict())
            provenance.record(workdir, sys.argv[1:], describe_devices(), segment, data.identities)
        status.begin(first_step)
        suffix = "" if first_process else f"-{jax.process_index()}"
        source.decode_failures.write_to(workdir / f"decode_failures{suffix}.jsonl", first_step)
        stack.callback(source.decode_failures.close)
        sample_range = SampleRange(sampler, first_step, num_steps, experiment.shard)
        prefetcher = stack.enter_context(contextlib.closing(_prefetcher(experiment, source, sample_range)))
        flat_config = records.flatten(overrides.to_config_dict(config).to_dict())
        writer = MetricsWriter(workdir, first_step=first_step, sinks=config.monitor.sinks, config=flat_config)
        stack.enter_context(contextlib.closing(writer))
        checkpoints.before_commit = writer.flush  # a checkpoint implies the rows of its step
        fixed = (workdir, experiment, source, sampler, num_steps, first_step)
        check_lock = locks[0] if locks else lambda: None
        opened = (checkpoints, status, prefetcher, writer, flat_config, save_compiled, check_lock)
        yield Run(*fixed, *opened), state


def _steps(sampler: EpochSampler, epochs: float) -> int:
    return max(1, round(epochs * sampler.steps_per_epoch))


def _first_state(
    experiment: Experiment, sampler: EpochSampler, checkpoints: Checkpoints
) -> tuple[TrainState, int]:
    """Restore the newest intact checkpoint, or initialize a state if there is none; also return its step."""
    if not checkpoints.steps:
        state = experiment.first_state(sampler)
        if experiment.config.adapt.weights:
            checkpoints.save(state)  # kept: candidates are compared with it
            checkpoints.wait()
        return state, 0
    abstract = abstract_state(experiment.init(sampler))
    state, step = checkpoints.restore_newest(abstract, experiment.layout, sampler.segment.step)
    log.info(f"resuming from the checkpoint of step {step}")
    return state, step


def _prefetcher(experiment: Experiment, source: splits.Split, sample_range: SampleRange) -> DevicePrefetcher:
    """Return the batches of a run, from the host or from the devices' own memory; both give the same bits."""
    data, layout = experiment.config.data, experiment.layout
    if data.cache != "decoded":
        batches = source.train_batches(data, experiment.config.recipe.views, sample_range)
        return DevicePrefetcher(batches, layout.shard)
    bytes_per_pixel = data.channels * jax.numpy.dtype(data.pixel_dtype).itemsize
    device_cache.check_size(source.num_examples, data.canvas, bytes_per_pixel)
    dataset = device_cache.DeviceDataset(source.decode_all(data), layout)

    def log_failure(index: int, step: int) -> None:
        # Decoding has already logged the reason and checked max_decode_failures.
        source.decode_failures.add(index, "cannot be decoded", step=step, limit=None)

    return DevicePrefetcher(dataset.rows(sample_range, log_failure), dataset.take)
