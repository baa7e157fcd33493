"""The input pipeline against the clock, stage by stage, beside the official one on Pillow.

A pair is one image's views. The cost of a stage is the difference between two lengths of the same stream, so
that neither the start nor what was made ahead counts; CPU-seconds are those of all threads of the process.
"""

import argparse
from collections.abc import Callable
from functools import partial
import os
import pathlib
import resource
import statistics
import sys
import time
from typing import Any

import jax
import numpy as np

from barlow_jax.config.schema import Config
from barlow_jax.data import pillow_views, pipeline_stages, sources
from barlow_jax.data.sampler import EpochSampler
from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.errors import UserError

_BATCH = 25
_REPEATS = 3
_TITLES = {
    "read": "read",
    "decode": "read and decode: the floor",
    "canvas": "... onto a canvas: augment_on device",
    "transfer": "... and onto the devices",
    "geometry": "decode, crop and flip on the host",
    "color": "... and color: augment_on host",
    "official": "official, on Pillow, one process",
}


def run(config: Config, workdir: pathlib.Path | None, args: argparse.Namespace) -> dict[str, Any]:
    """Pairs a CPU-second and a second of each stage; with a workdir also a bar chart."""
    if args.images < 2 * _BATCH:
        raise UserError(f"--images: needs {2 * _BATCH} or more to tell two lengths apart, got {args.images}")
    source = sources.open_split(config.data, config.data.train_split)
    sampler = EpochSampler(config.seed, source.num_examples, min(_BATCH, source.num_examples))
    num_steps = max(2, args.images // sampler.batch_size)
    runs = _runs(config, source, sampler)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(_REPEATS):  # in turns, so that what else the machine does hits all alike
        for name, consume in runs.items():
            taken[name].append(_per_step(consume, num_steps))
    rows = []
    for name in _TITLES:
        cpu, wall = (statistics.median(column) for column in zip(*taken[name], strict=True))
        rows.append(
            {
                "stage": name,
                "pairs_per_cpu_second": sampler.batch_size / cpu,
                "pairs_per_second": sampler.batch_size / wall,
            }
        )
    results = {
        "images": args.images,
        "cores": os.cpu_count(),
        "image_size": config.data.image_size,
        "rows": rows,
    }
    print(format_table(rows), file=sys.stderr)
    if workdir:
        path = workdir / "results" / "bench-input.png"
        plot(rows, path)
        print(f"chart: {path}", file=sys.stderr)
    return results


def _runs(config: Config, source: sources.Source, sampler: EpochSampler) -> dict[str, Callable[[int], None]]:
    """What works through so many steps, by stage."""
    cut = pipeline_stages.make_stages(config, source, sampler)
    layout = Layout(make_mesh())

    def drain(stage: pipeline_stages.Stage, num_steps: int) -> None:
        for _ in stage(num_steps):
            pass

    def transfer(num_steps: int) -> None:
        devices = jax.device_count()
        for batch in cut["canvas"](num_steps):
            rows = len(batch.index) // devices * devices
            jax.block_until_ready(layout.shard(jax.tree.map(lambda x, rows=rows: x[:rows], batch)))

    def pillow(num_steps: int) -> None:
        rng = np.random.default_rng(0)
        for encoded in pipeline_stages.read_encoded(source, num_steps * sampler.batch_size):
            pillow_views.make_views(encoded, dict(config.recipe.views), config.data.image_size, rng)

    return {name: partial(drain, stage) for name, stage in cut.items()} | {
        "transfer": transfer,
        "official": pillow,
    }


def _per_step(consume: Callable[[int], None], num_steps: int) -> tuple[float, float]:
    """CPU and wall seconds a step: of the longer stream less the shorter one."""
    costs = []
    for steps in (num_steps // 2, num_steps // 2 + num_steps):
        started, used = time.perf_counter(), _cpu_seconds()
        consume(steps)
        costs.append((_cpu_seconds() - used, time.perf_counter() - started))
    return tuple(max((long - short) / num_steps, 1e-9) for short, long in zip(*costs, strict=True))


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def format_table(rows: list[dict[str, Any]]) -> str:
    """A line a stage; shares of the floor and multiples of the official pipeline are of CPU-seconds."""
    speed = {row["stage"]: row["pairs_per_cpu_second"] for row in rows}
    lines = [
        f"{'pairs of views':<42}{'a CPU-second':>14}{'a second':>12}{'of decoding':>13}{'x official':>12}"
    ]
    for row in rows:
        own = row["pairs_per_cpu_second"]
        lines.append(
            f"{_TITLES[row['stage']]:<42}{own:>14.0f}{row['pairs_per_second']:>12.0f}"
            f"{own / speed['decode']:>13.0%}{own / speed['official']:>12.1f}"
        )
    return "\n".join(lines)


def plot(rows: list[dict[str, Any]], path: pathlib.Path) -> None:
    """A bar a stage."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 0.5 * len(rows) + 1), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    names, values = [_TITLES[row["stage"]] for row in rows], [row["pairs_per_cpu_second"] for row in rows]
    axes.bar_label(axes.barh(names, values), fmt="%.0f", padding=3)
    axes.invert_yaxis()
    axes.set(xlabel="pairs of views a CPU-second", xscale="log")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
