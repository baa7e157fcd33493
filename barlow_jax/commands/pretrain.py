"""Pretrain an encoder without labels; resumes from the newest checkpoint of the workdir."""

import argparse
import contextlib
import pathlib
import sys
import time
from typing import Any

import jax

from barlow_jax.checkpoints import verify
from barlow_jax.checkpoints.restore import (
    FOLDER,
    Checkpoints,
    abstract_state,
    newest_step,
    open_checkpoints,
)
from barlow_jax.cli.command import Command
from barlow_jax.config import overrides, schema as config_lib
from barlow_jax.config.schema import Config
from barlow_jax.data import splits
from barlow_jax.data.sampler import EpochSampler, SampleRange
from barlow_jax.distributed import exchange
from barlow_jax.distributed.mesh import describe_devices
from barlow_jax.errors import UserError
from barlow_jax.experiment import hooks
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.io import files
from barlow_jax.optim import optimizers
from barlow_jax.training import compilation_cache, device_cache, preemption
from barlow_jax.training.loop import fit
from barlow_jax.training.prefetch import DevicePrefetcher
from barlow_jax.training.step import compile_step
from barlow_jax.types import TrainState
from barlow_jax.workdir import lock, provenance, saved_run
from barlow_jax.workdir.metrics import MetricsWriter
from barlow_jax.workdir.status import Status

COMMAND = Command(
    examples=(
        "pretrain --config configs/digits.py --workdir runs/digits",
        "pretrain --workdir runs/digits    # resumes",
    ),
    makes_objective=True,
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add --resume."""
    parser.add_argument(
        "--resume",
        choices=("auto", "never", "must"),
        default="auto",
        help="auto: resume from the newest intact checkpoint if there is one; never: refuse a workdir with a "
        "checkpoint; must: refuse a workdir without one; default: %(default)s",
    )


def check(args: argparse.Namespace, config: Config | None) -> list[str]:
    """Return what keeps the run from starting in this workdir."""
    if config is None or not args.workdir:
        return []
    return saved_run.differences(args.workdir, config) + saved_run.resume_problems(args.workdir, args.resume)


# Of the last rows of the metrics, in the results.
_TOLD = ("loss", "skipped_steps", "knn_top1")


def run(config: Config, workdir: pathlib.Path, args: argparse.Namespace) -> dict[str, Any]:
    del args
    started = time.monotonic()
    _check_workdir(workdir)
    experiment = Experiment.of(config)
    source = splits.open_split(config.data, config.data.train_split)
    _check_labels(config, source)
    sampler = experiment.sampler(source.num_examples)
    num_steps, parts = experiment.num_steps(sampler), experiment.step_parts(sampler)

    with preemption.run(), contextlib.ExitStack() as stack:
        exchange.call_on_first(lambda: stack.enter_context(lock.acquire(workdir)) or 0)
        _prepare(workdir, config)
        keep_compiled = stack.enter_context(compilation_cache.kept(config.train.compilation_cache))
        status = stack.enter_context(_status(workdir, sampler, num_steps))
        checkpoints = stack.enter_context(_checkpoints(workdir, config.checkpoint, sampler))
        state, first_step = _start(experiment, sampler, checkpoints)
        if jax.process_index() == 0:  # now that it has one: a workdir that is refused stays as it was
            provenance.record(workdir, sys.argv[1:], describe_devices())
        status.begin(first_step)
        source.decode_failures.write_to(workdir / _decode_failures(), first_step)
        feed = stack.enter_context(
            contextlib.closing(_feed(experiment, source, sampler, first_step, num_steps))
        )
        writer = stack.enter_context(contextlib.closing(MetricsWriter(workdir, first_step=first_step)))
        this = hooks.Run(
            workdir, experiment, source, sampler, num_steps, first_step, checkpoints, status, writer
        )
        progress = stack.enter_context(contextlib.closing(hooks.progress(this, feed)))
        watch, skips = hooks.monitor(this), hooks.skips(this, state)
        hooks.make_up(this, watch, state)
        beside = [
            skips,
            hooks.first(this, keep_compiled),
            hooks.log(this, progress),
            *watch,
            hooks.save(this),
        ]
        step = skips.watched(compile_step(experiment.layout, state, parts))
        hook = preemption.saving(beside, checkpoints.save, last=num_steps)
        fit(step, state, feed, num_steps=num_steps, hooks=[hook])
    return {
        "step": num_steps,
        "first_step": first_step,
        "epochs": num_steps / sampler.steps_per_epoch,
        "seconds": round(time.monotonic() - started, 1),
        "decode_failures": source.decode_failures.count_before(num_steps),
        **{name: writer.latest[name] for name in _TOLD if name in writer.latest},
    }


def _check_workdir(workdir: pathlib.Path) -> None:
    step = newest_step(workdir)
    if step is not None and verify.is_encoder_only(workdir / FOLDER / str(step)):
        raise UserError(
            f"{workdir} holds an encoder alone, and a run goes on from a whole state: use another workdir. To start "
            "one from these weights, `export --format torchvision` them, and `import --as start` that file"
        )


def _prepare(workdir: pathlib.Path, config: Config) -> None:
    """What a killed process left is gone, and the workdir says what runs in it."""
    if jax.process_index() == 0:
        files.remove_drafts(workdir)
        files.remove_drafts(workdir / "results", "pretrain.json")
        files.write_json(workdir / "config.json", overrides.to_config_dict(config).to_dict())


def _status(workdir: pathlib.Path, sampler: EpochSampler, num_steps: int) -> Status:
    active = jax.process_index() == 0
    return Status(workdir, num_steps=num_steps, steps_per_epoch=sampler.steps_per_epoch, active=active)


def _checkpoints(workdir: pathlib.Path, config: config_lib.Checkpoint, sampler: EpochSampler):
    epochs = config.keep_every_epochs
    for_good = hooks.steps_of(sampler, epochs) if epochs else None
    return open_checkpoints(workdir, keep_newest=config.keep_newest, keep_every_steps=for_good)


def _decode_failures() -> str:
    """The file of those that this process met."""
    return f"decode_failures{f'-{jax.process_index()}' if jax.process_index() else ''}.jsonl"


def _check_labels(config: Config, source: splits.Split) -> None:
    """What needs labels is refused where they are of another kind, before a step is compiled."""
    if source.multi_label and config.monitor.every_epochs:
        raise UserError(
            f"{config.data.name} has several labels an image, and the k-NN that watches the run needs one: "
            "set --config.monitor.every_epochs=0"
        )
    if source.num_classes is None and config.monitor.every_epochs:
        raise UserError(
            f"{config.data.name} has no labels, and the k-NN that watches the run needs them: "
            "set --config.monitor.every_epochs=0"
        )
    classes = config.network.num_classes
    if classes and (source.multi_label or source.num_classes != classes):
        there = "several labels an image" if source.multi_label else f"{source.num_classes or 'no'} classes"
        raise UserError(f"config.network.num_classes: {config.data.name} has {there}, not {classes} classes")


def describe(config: Config, num_images: int | None) -> dict[str, Any]:
    """The plan of the run, from shapes alone: what `--dry-run` prints."""
    experiment = Experiment.of(config)
    sampler = experiment.sampler(num_images or config.train.batch_size)
    params = abstract_state(experiment.init(sampler)).params
    rates = optimizers.learning_rates(config, sampler.steps_per_epoch)
    plan = {
        "images": num_images if num_images else "known once the data set is prepared",
        "steps_per_epoch": sampler.steps_per_epoch,
        "steps": experiment.num_steps(sampler),
        "batch_size": sampler.batch_size,
        "devices": jax.device_count(),
        "batch_size_per_device": sampler.batch_size // jax.device_count(),
        "microbatches": config.train.microbatches,
        "projector": experiment.layout.projector,
        "peak_learning_rates": {
            name: float(rate(round(config.optim.warmup_epochs * sampler.steps_per_epoch)))
            for name, rate in rates.items()
        },
        "parameters": {name: sum(p.size for p in jax.tree.leaves(part)) for name, part in params.items()},
    }
    return {"plan": plan, "params": params}


def _start(experiment: Experiment, sampler: EpochSampler, checkpoints: Checkpoints) -> tuple[TrainState, int]:
    """The newest good checkpoint's state, or a fresh one where there is no checkpoint."""
    init = experiment.init(sampler)
    if not checkpoints.steps:
        return init(jax.random.key(experiment.config.seed)), 0
    state, step = checkpoints.restore_newest(abstract_state(init), experiment.layout)
    print(f"going on from the checkpoint of step {step}", file=sys.stderr)
    return state, step


def _feed(
    experiment: Experiment, source: splits.Split, sampler: EpochSampler, first_step: int, num_steps: int
) -> DevicePrefetcher:
    """The batches of the steps, from the host or from the devices' own memory: the same bits."""
    data, layout = experiment.config.data, experiment.layout
    sample_range = SampleRange(sampler, first_step, num_steps, experiment.shard)
    if data.cache != "decoded":
        return DevicePrefetcher(
            source.train_batches(data, experiment.config.recipe.views, sample_range), layout.shard
        )
    device_cache.refuse_too_large(source.num_examples, data.canvas)
    there = device_cache.DeviceDataset(source.decode_all(data), layout)

    def met(
        index: int, step: int
    ) -> None:  # named and checked against max_decode_failures when it was decoded
        source.decode_failures.add(index, "cannot be decoded", step=step, limit=None)

    return DevicePrefetcher(there.rows(sample_range, met), there.take)
