"""`bench checkpoint`: seconds to save (blocking training, and in all), to restore and to verify."""

import argparse
import secrets
import statistics
import tempfile
import time
from typing import Any

import jax
import jax.numpy as jnp

from barlow_jax.checkpoints.restore import abstract_state, open_checkpoints
from barlow_jax.config.schema import Config
from barlow_jax.data import catalog
from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.io import log, paths
from barlow_jax.io.paths import Path
from barlow_jax.types import TrainState
from barlow_jax.workdir.saved_run import checkpoint_steps

_REPEATS = 3
_MAX_BLOCKED = 0.05  # fraction of the time that saves may block training


def run(config: Config, workdir: Path | None, args: argparse.Namespace) -> dict[str, Any]:
    """Measure a state of `--state-mb` megabytes, or the config's own if that is 0. The files are removed."""
    if args.state_mb:
        state = _random_state(args.state_mb)
    else:
        experiment = Experiment.from_config(config)
        init = experiment.init(experiment.sampler(config.train.batch_size))
        state = init(jax.random.key(config.seed))
    folder = (workdir or Path(tempfile.gettempdir())) / f"bench-checkpoint-{secrets.token_hex(4)}"
    row = {"state_bytes": sum(leaf.nbytes for leaf in jax.tree.leaves(state))}
    try:
        row |= _measure(state, folder)
    finally:
        paths.remove_folder(folder)
    row |= _blocked_fraction(config, args.step_seconds, row["blocked_seconds"])
    for name, value in row.items():
        log.info(f"{name.replace('_', ' '):<28}{_format(name, value)}")
    return row


def _random_state(megabytes: float) -> TrainState:
    """Return random parameters and momentum, which compress like weights, in arrays of ResNet-50's size."""
    width, count = 1024, max(1, round(megabytes * 1e6 / (2 * 4 * 1024 * 512)))
    keys = jax.random.split(jax.random.key(0), 2 * count)
    arrays = [jax.random.normal(key, (512, width)) for key in keys]
    halves = arrays[:count], arrays[count:]
    params, momentum = ({f"w{i}": array for i, array in enumerate(half)} for half in halves)
    return TrainState(jnp.int32(0), params, {}, momentum)


def _measure(state: TrainState, folder: Path) -> dict[str, Any]:
    """Return median seconds; the first save starts Orbax's threads and is not counted."""
    jax.block_until_ready(state)
    times: dict[str, list[float]] = {"blocked_seconds": [], "saved_seconds": []}
    with open_checkpoints(folder) as checkpoints:
        for step in range(1, _REPEATS + 2):
            started = time.perf_counter()
            checkpoints.save(state._replace(step=jnp.int32(step)))
            times["blocked_seconds"].append(time.perf_counter() - started)
            while checkpoints.is_saving and step not in checkpoint_steps(folder):
                checkpoints.check_save()
                time.sleep(0.005)
            times["saved_seconds"].append(time.perf_counter() - started)
    with open_checkpoints(folder, read_only=True) as checkpoints:
        newest, layout = checkpoints.steps[-1], Layout(make_mesh())
        abstract = abstract_state(lambda key: state)
        seconds = {name: statistics.median(values[1:]) for name, values in times.items()}
        for name, call in {
            "restore_seconds": lambda: jax.block_until_ready(checkpoints.restore(abstract, layout, newest)),
            "verify_seconds": lambda: checkpoints.examine(newest, abstract.nonempty_fields()),
        }.items():
            started = time.perf_counter()
            call()
            seconds[name] = time.perf_counter() - started
    return seconds


def _blocked_fraction(config: Config, step_seconds: float | None, blocked: float) -> dict[str, Any]:
    """Return the fraction of time blocked at the config's interval, and the step time for 5 %."""
    if minutes := config.checkpoint.every_minutes:
        return {"blocked_fraction": blocked / (blocked + 60 * minutes)}
    split = config.data.train_split
    images = catalog.count_images(config.data, (split,))[0].get(split)
    if not images:
        return {}
    every = max(1, round(config.checkpoint.every_epochs * (images // config.train.batch_size)))
    shortest = blocked * (1 - _MAX_BLOCKED) / _MAX_BLOCKED / every
    row = {"steps_between_saves": every, "step_seconds_for_5_percent": shortest}
    if step_seconds is not None:
        row |= {"step_seconds": step_seconds, "blocked_fraction": blocked / (blocked + every * step_seconds)}
    return row


def _format(name: str, value: float) -> str:
    if name.endswith("bytes"):
        return f"{value / 1e6:.1f} MB"
    if name.endswith("fraction"):
        return f"{value:.3%}"
    return f"{value:.4g} s" if "seconds" in name else str(value)
