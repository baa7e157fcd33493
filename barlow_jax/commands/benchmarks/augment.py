"""The accelerator's augmentation of a batch: against the clock on the devices at hand, or on paper for a TPU."""

import argparse
from collections.abc import Callable, Iterator
import dataclasses
from functools import partial
import pathlib
import statistics
import sys
import time
from typing import Any

import jax
import numpy as np

from barlow_jax.config.recipe import COLOR, GEOMETRIC, Recipe, View, without
from barlow_jax.config.schema import Config
from barlow_jax.data.padded_images import CANVAS, SHAPE
from barlow_jax.errors import UserError
from barlow_jax.experiment import lowering
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.planning import hlo
from barlow_jax.planning.roofline import compile_cost
from barlow_jax.planning.tpu import Topology

_REPEATS = 5


def run(config: Config, workdir: pathlib.Path | None, args: argparse.Namespace) -> dict[str, Any]:
    """A row an op, of the views with it and those before it; on paper also all of them as a part of the train step."""
    del workdir
    topology = Topology.parse(args.topology) if args.topology else None
    devices = topology.devices() if topology else jax.devices()
    where = topology.name if topology else f"{len(devices)} x {devices[0].device_kind}"
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, augment_on="device"))
    if config.train.batch_size % len(devices):
        raise UserError(
            f"config.train.batch_size: {config.train.batch_size} images do not divide over {len(devices)} devices"
        )
    experiment = Experiment.of(config, devices)
    pairs = config.train.batch_size // len(devices)
    print(f"augmentation of {pairs} images a device on {where}", file=sys.stderr)
    whole = _step_cycles(experiment, "host") if topology else 0
    measure = partial(_on_paper, whole=whole) if topology else _seconds
    rows: list[dict[str, Any]] = []

    def add(row: dict[str, Any]) -> None:
        rows.append(row)
        print("  ".join(_shown(*item) for item in row.items()), file=sys.stderr, flush=True)

    for op, views in _stages(config):
        augment = jax.jit(
            experiment.augment(Recipe(views)),
            in_shardings=experiment.layout.batch,
            out_shardings=experiment.layout.batch,
        )
        add({"until": op, **measure(augment, config, experiment)})
    if topology:
        more = _step_cycles(experiment, "device") - whole
        add({"until": "all of it, in the step", "cycles": more, "share_of_step": more / whole})
    return {"devices": where, "images_per_device": pairs, "rows": rows}


def _on_paper(augment: Callable, config: Config, experiment: Experiment, whole: int) -> dict[str, float]:
    del experiment
    _, compiled = compile_cost(augment.lower(lowering.abstract_images(config)))
    cycles = hlo.HloModule.parse(compiled.as_text()).cycles()
    return {"cycles": cycles, "share_of_step": cycles / whole}


def _step_cycles(experiment: Experiment, augment_on: str) -> int:
    """Of the train step in the compiler's own estimate."""
    data = dataclasses.replace(experiment.config.data, augment_on=augment_on)
    experiment = dataclasses.replace(experiment, config=dataclasses.replace(experiment.config, data=data))
    lowered, _ = lowering.lower(experiment, experiment.sampler(experiment.config.train.batch_size), "step")
    return hlo.HloModule.parse(compile_cost(lowered)[1].as_text()).cycles()


def _seconds(augment: Callable, config: Config, experiment: Experiment) -> dict[str, float]:
    """Median of a few calls, the first not counted."""
    rng, taken = np.random.default_rng(0), []
    images = {
        name: rng.integers(0, 256 if name == CANVAS else config.data.canvas, leaf.shape).astype(leaf.dtype)
        for name, leaf in lowering.abstract_images(config).items()
    }
    images[SHAPE] = np.full_like(images[SHAPE], config.data.canvas)
    placed = jax.device_put(images, experiment.layout.batch)
    for _ in range(_REPEATS + 1):
        started = time.perf_counter()
        jax.block_until_ready(augment(placed))
        taken.append(time.perf_counter() - started)
    seconds = statistics.median(taken[1:])
    return {"seconds": seconds, "images_per_second": config.train.batch_size / seconds}


def _shown(name: str, value: str | float) -> str:
    if name == "until":
        return f"{value:<24}"
    number = f"{value:.1%}" if name == "share_of_step" else f"{value:.4g}"
    return f"{number:>10} {name.replace('_', ' ')}"


def _stages(config: Config) -> Iterator[tuple[str, dict[str, View]]]:
    """The views up to each op that they apply."""
    views = config.recipe.views
    off: set[str] = {op for op in (*GEOMETRIC, *COLOR) if op != "crop"}
    for op in next(iter(views.values())).order:
        applied = [getattr(getattr(view, op), "probability", 1.0) > 0 for view in views.values()]
        if op == "normalize" or not any(applied):
            continue
        off.discard(op)
        yield op, {name: without(view, off) for name, view in views.items()}
