"""`bench augment`: time of the augmentation on the devices, measured here or estimated for a TPU."""

import argparse
from collections.abc import Callable, Iterator
import dataclasses
from functools import partial
import pathlib
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
from barlow_jax.planning import hlo
from barlow_jax.planning.roofline import compile_cost


def run(config: Config, workdir: pathlib.Path | None, args: argparse.Namespace) -> dict[str, Any]:
    """Return one row per operation, for views with it and those before it.

    With a topology the rows have cycles in the compiler's estimate, and the last row is for all operations
    within the train step.
    """
    topology, devices, name = choose_devices(args)
    config = config.replace({"data.augment_on": "device"})
    pairs, rest = divmod(config.train.batch_size, len(devices))
    if rest:
        key = f"config.train.batch_size is {config.train.batch_size}"
        raise UserError(f"{key}, but must be divisible by the {len(devices)} devices.")
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


def _estimate(
    augment: Callable, config: Config, experiment: Experiment, step_cycles: int
) -> dict[str, float]:
    _, compiled = compile_cost(augment.lower(lowering.abstract_images(config)))
    cycles = hlo.HloModule.parse(compiled.as_text()).cycles()
    return {"cycles": cycles, "fraction_of_step": cycles / step_cycles}


def _step_cycles(experiment: Experiment, augment_on: str) -> int:
    """Return the cycles of the train step in the compiler's estimate."""
    config = experiment.config.replace({"data.augment_on": augment_on})
    experiment = dataclasses.replace(experiment, config=config)
    lowered, _ = lowering.lower(experiment, experiment.sampler(experiment.config.train.batch_size), "step")
    return hlo.HloModule.parse(compile_cost(lowered)[1].as_text()).cycles()


def _seconds(augment: Callable, config: Config, experiment: Experiment) -> dict[str, float]:
    """Return the median seconds of a call."""
    rng = np.random.default_rng(0)
    images = {
        name: rng.integers(0, 256 if name == CANVAS else config.data.canvas, leaf.shape).astype(leaf.dtype)
        for name, leaf in lowering.abstract_images(config).items()
    }
    images[SHAPE] = np.full_like(images[SHAPE], config.data.canvas)
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
