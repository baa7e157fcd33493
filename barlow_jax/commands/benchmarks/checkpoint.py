"""What checkpoints cost: seconds that a save stops the steps for, until it is whole, to restore and to verify it."""

import argparse
import pathlib
import statistics
import sys
import tempfile
import time
from typing import Any

import jax
import jax.numpy as jnp

from barlow_jax.checkpoints.restore import abstract_state, open_checkpoints
from barlow_jax.config.schema import Config
from barlow_jax.data import catalog
from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.errors import UserError
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.types import TrainState
from barlow_jax.workdir.saved_run import CHECKPOINTS

_REPEATS = 3
_MOST_SHARE = 0.05  # of the time, for which saves may stop the steps


def run(config: Config, workdir: pathlib.Path | None, args: argparse.Namespace) -> dict[str, Any]:
    """Of a state of `--state-mb`, or of the config's own where that is 0. The files are removed."""
    for name in ("state-mb", "step-seconds"):
        if (value := getattr(args, name.replace("-", "_"))) is not None and value < 0:
            raise UserError(f"--{name} {value}: must not be negative")
    state = _sized(args.state_mb) if args.state_mb else _of(config)
    with tempfile.TemporaryDirectory(dir=_folder(workdir), prefix="bench-checkpoint-") as folder:
        row = {"state_bytes": sum(leaf.nbytes for leaf in jax.tree.leaves(state))}
        row |= _measure(state, pathlib.Path(folder))
    row |= _share(config, args.step_seconds, row["blocks_seconds"])
    for name, value in row.items():
        print(f"{name.replace('_', ' '):<24}{_shown(name, value)}", file=sys.stderr)
    return row


def _folder(workdir: pathlib.Path | None) -> pathlib.Path | None:
    if workdir is not None:
        workdir.mkdir(parents=True, exist_ok=True)
    return workdir


def _of(config: Config) -> TrainState:
    experiment = Experiment.of(config)
    return experiment.init(experiment.sampler(config.train.batch_size))(jax.random.key(config.seed))


def _sized(megabytes: float) -> TrainState:
    """Random numbers, which compress as weights do; parameters and momentum, in arrays as ResNet-50's on average."""
    width, count = 1024, max(1, round(megabytes * 1e6 / (2 * 4 * 1024 * 512)))
    keys = jax.random.split(jax.random.key(0), 2 * count)
    arrays = [jax.random.normal(key, (512, width)) for key in keys]
    halves = arrays[:count], arrays[count:]
    params, momentum = ({f"w{i}": array for i, array in enumerate(half)} for half in halves)
    return TrainState(jnp.int32(0), params, {}, momentum)


def _measure(state: TrainState, folder: pathlib.Path) -> dict[str, Any]:
    """Medians. The first save starts Orbax's threads, and does not count."""
    jax.block_until_ready(state)
    taken: dict[str, list[float]] = {"blocks_seconds": [], "whole_seconds": []}
    with open_checkpoints(folder) as checkpoints:
        for step in range(1, _REPEATS + 2):
            started = time.perf_counter()
            checkpoints.save(state._replace(step=jnp.int32(step)))
            taken["blocks_seconds"].append(time.perf_counter() - started)
            while checkpoints.is_saving and not (folder / CHECKPOINTS / str(step)).exists():
                checkpoints.check_save()
                time.sleep(0.005)
            taken["whole_seconds"].append(time.perf_counter() - started)
    with open_checkpoints(folder, read_only=True) as checkpoints:
        newest, layout = checkpoints.steps[-1], Layout(make_mesh())
        abstract = abstract_state(lambda key: state)
        seconds = {name: statistics.median(times[1:]) for name, times in taken.items()}
        for name, call in {
            "restore_seconds": lambda: jax.block_until_ready(checkpoints.restore(abstract, layout, newest)),
            "verify_seconds": lambda: checkpoints.examine(newest, abstract.parts()),
        }.items():
            started = time.perf_counter()
            call()
            seconds[name] = time.perf_counter() - started
    return seconds


def _share(config: Config, step_seconds: float | None, blocks: float) -> dict[str, Any]:
    """Of the time between two saves at `config.checkpoint.every_epochs`; or how long steps must take for it."""
    split = config.data.train_split
    images = catalog.count_images(config.data, (split,))[0].get(split)
    if not images:
        return {}
    every = max(1, round(config.checkpoint.every_epochs * (images // config.train.batch_size)))
    least = blocks * (1 - _MOST_SHARE) / _MOST_SHARE / every
    row = {"steps_between_saves": every, "step_seconds_for_5_percent": least}
    if step_seconds is not None:
        row |= {"step_seconds": step_seconds, "blocked_share": blocks / (blocks + every * step_seconds)}
    return row


def _shown(name: str, value: float) -> str:
    if name.endswith("bytes"):
        return f"{value / 1e6:.1f} MB"
    if name.endswith("share"):
        return f"{value:.3%}"
    return f"{value:.4g} s" if "seconds" in name else str(value)
