"""`bench augment`: time of the augmentation on the devices, measured here or estimated for a TPU."""

import argparse
from collections.abc import Callable, Iterator, Mapping
import dataclasses
from functools import partial
from typing import Any

import jax
import numpy as np

from barlow_jax.commands.benchmarks.loss import choose_devices, median_seconds
from barlow_jax.config.recipe import Recipe, View, without
from barlow_jax.config.schema import Config
from barlow_jax.data.padded_images import CANVAS, SHAPE
from barlow_jax.errors import UserError
from barlow_jax.experiment import lowering
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.io import log
from barlow_jax.io.paths import Path
from barlow_jax.planning import hlo
from barlow_jax.planning.roofline import compile_new


def run(config: Config, workdir: Path | None, args: argparse.Namespace) -> dict[str, Any]:
    """Return one row per operation, for views with it and those before it.

    With a topology the rows have cycles in the compiler's estimate, and the last row is for all operations
    within the train step.
    """
    topology, devices, name = choose_devices(args)
    config = config.replace({"data.augment_on": "device"})
    pairs = rows_per_device(config, len(devices))
    experiment = Experiment.from_config(config, devices)
    log.info(f"augmentation of {pairs} images per device on {name}")
    step_cycles = _step_cycles(experiment, "host") if topology else 0
    measure = partial(_estimate, step_cycles=step_cycles) if topology else _seconds
    rows: list[dict[str, Any]] = []

    def add(row: dict[str, Any]) -> None:
        rows.append(row)
        log.info("  ".join(_format(*item) for item in row.items()))

    for op, views in _stages(config):
        by_rows = {"in_shardings": experiment.layout.batch, "out_shardings": experiment.layout.batch}
        augment = jax.jit(experiment.augment(Recipe(views)), **by_rows)
        add({"operation": op, **measure(augment, config, experiment)})
    if topology:
        more = _step_cycles(experiment, "device") - step_cycles
        add({"operation": "all, in the step", "cycles": more, "fraction_of_step": more / step_cycles})
    return {"devices": name, "images_per_device": pairs, "rows": rows}


def rows_per_device(config: Config, num_devices: int) -> int:
    """Return the images of a step on each device.

    Raises:
      UserError: the devices cannot share the batch equally.
    """
    rows, rest = divmod(config.train.batch_size, num_devices)
    if rest:
        key = f"config.train.batch_size is {config.train.batch_size}"
        raise UserError(f"{key}, but must be divisible by the {num_devices} devices.")
    return rows


def synthetic_views(abstract: Mapping[str, Any], config: Config) -> dict[str, np.ndarray]:
    """Return random pixels for the shapes of a batch's decoded images or views."""
    rng = np.random.default_rng(0)
    views = {name: rng.integers(0, 256, leaf.shape).astype(leaf.dtype) for name, leaf in abstract.items()}
    if CANVAS in views:
        views[SHAPE] = np.full_like(views[SHAPE], config.data.canvas)
    return views


def _estimate(
    augment: Callable, config: Config, experiment: Experiment, step_cycles: int
) -> dict[str, float]:
    compiled = compile_new(augment.lower(lowering.abstract_images(config)))
    cycles = hlo.HloModule.parse(compiled.as_text()).cycles()
    return {"cycles": cycles, "fraction_of_step": cycles / step_cycles}


def _step_cycles(experiment: Experiment, augment_on: str) -> int:
    """Return the cycles of the train step in the compiler's estimate."""
    config = experiment.config.replace({"data.augment_on": augment_on})
    experiment = dataclasses.replace(experiment, config=config)
    lowered, _ = lowering.lower(experiment, experiment.sampler(experiment.config.train.batch_size), "step")
    return hlo.HloModule.parse(compile_new(lowered).as_text()).cycles()


def _seconds(augment: Callable, config: Config, experiment: Experiment) -> dict[str, float]:
    """Return the median seconds of a call."""
    images = synthetic_views(lowering.abstract_images(config), config)
    on_devices = jax.device_put(images, experiment.layout.batch)
    median = median_seconds({"": lambda: jax.block_until_ready(augment(on_devices))})[""]
    return {"seconds": median, "images_per_second": config.train.batch_size / median}


def _format(name: str, value: str | float) -> str:
    if name == "operation":
        return f"{value:<24}"
    number = f"{value:.1%}" if name == "fraction_of_step" else f"{value:.4g}"
    return f"{number:>10} {name.replace('_', ' ')}"


def _stages(config: Config) -> Iterator[tuple[str, dict[str, View]]]:
    """Yield each operation that the views apply, and the views up to it."""
    views = config.recipe.views
    order = next(iter(views.values())).order
    off = {*order} - {"crop", "normalize"}
    for op in order:
        if op == "normalize" or not any(view.applies(op) for view in views.values()):
            continue
        off.discard(op)
        yield op, {name: without(view, off) for name, view in views.items()}
