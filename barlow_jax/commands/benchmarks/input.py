"""`bench input`: speed of the input pipeline by stage, next to the official pipeline on Pillow.

A pair is the two views of one image. The cost of a stage is the difference between two lengths of the same
stream, so that neither startup nor prefetched batches count. CPU-seconds are those of all threads.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
import contextlib
import dataclasses
import itertools
import statistics
import time
from typing import Any

import jax
import numpy as np

from barlow_jax.config.recipe import View, geometric
from barlow_jax.config.schema import Config
from barlow_jax.data import pillow_views, splits
from barlow_jax.data.image_formats import decode
from barlow_jax.data.pixel_arrays import DecodeError
from barlow_jax.data.sampler import EpochSampler, SampleRange
from barlow_jax.distributed.mesh import Layout, make_mesh
from barlow_jax.errors import UserError
from barlow_jax.io import log, processors
from barlow_jax.io.paths import Path
from barlow_jax.types import Batch

_BATCH = 25
_REPEATS = 3
_TITLES = {
    "read": "read",
    "decode": "read and decode",
    "canvas": "... and pad: augment_on device",
    "transfer": "... and copy to the devices",
    "geometry": "decode, crop and flip on the host",
    "color": "... and color: augment_on host",
    "official": "official, on Pillow, one process",
}


def run(config: Config, workdir: Path | None, args: argparse.Namespace) -> dict[str, Any]:
    """Return pairs per CPU-second and per second of each stage; with a workdir, also draw a bar chart."""
    if args.images < 2 * _BATCH:
        raise UserError(f"--images is {args.images}, but must be at least {2 * _BATCH}.")
    if config.data.pixel_dtype != "uint8":
        raise UserError(
            f"config.data.pixel_dtype is {config.data.pixel_dtype}, but bench input compares with a pipeline "
            "of uint8 images. The log of pretrain has the time that steps wait for data."
        )
    source = splits.open_split(config.data, config.data.train_split)
    sampler = EpochSampler(config.seed, source.num_examples, min(_BATCH, source.num_examples))
    num_steps = max(2, args.images // sampler.batch_size)
    runs = _runs(config, source, sampler)
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(_REPEATS):  # in turns, so that other load on the machine affects all equally
        for name, consume in runs.items():
            costs[name].append(_per_step(consume, num_steps))
    rows, size = [], sampler.batch_size
    for name in _TITLES:
        cpu, wall = (statistics.median(column) for column in zip(*costs[name], strict=True))
        rows.append({"stage": name, "pairs_per_cpu_second": size / cpu, "pairs_per_second": size / wall})
    results = {"images": args.images, "cores": processors.available(), "image_size": config.data.image_size}
    log.info(format_table(rows))
    if workdir:
        path = workdir / "results" / "bench-input.png"
        plot(rows, path)
        log.info(f"chart: {path}")
    return results | {"rows": rows}


def _runs(config: Config, source: splits.Split, sampler: EpochSampler) -> dict[str, Callable[[int], None]]:
    """Return for each stage a function that runs it for a number of steps.

    `canvas` pads, the host's whole work with `augment_on` "device"; `geometry` makes the views' crops and
    flips; `color` makes the finished views.
    """
    layout, all_ops, data = Layout(make_mesh()), dict(config.recipe.views), config.data

    def indices(num_steps: int) -> Iterator[int]:
        return itertools.islice(itertools.cycle(range(source.num_examples)), num_steps * sampler.batch_size)

    def decode_one(index: int) -> np.ndarray | None:
        with contextlib.suppress(DecodeError, OSError):
            return decode(source.read_content(index), 3, follow_exif=False)

    def each(function: Callable[[int], Any], num_steps: int) -> None:
        with ThreadPoolExecutor(data.threads or processors.available()) as pool:
            for _ in pool.map(function, indices(num_steps)):
                pass

    def batches(num_steps: int, target: str, views: Mapping[str, View] = all_ops) -> Iterator[Batch]:
        where = dataclasses.replace(data, augment_on=target)
        return source.train_batches(where, views, SampleRange(sampler, 0, num_steps))

    def drain(num_steps: int, target: str, views: Mapping[str, View] = all_ops) -> None:
        for _ in batches(num_steps, target, views):
            pass

    def transfer(num_steps: int) -> None:
        devices = jax.device_count()
        for batch in batches(num_steps, "device"):
            rows = len(batch.index) // devices * devices
            jax.block_until_ready(layout.shard(jax.tree.map(lambda x, rows=rows: x[:rows], batch)))

    def official(num_steps: int) -> None:
        rng = np.random.default_rng(0)
        for pixels in map(decode_one, indices(num_steps)):
            if pixels is not None:
                pillow_views.make_views(pixels, all_ops, data.image_size, rng)

    crops = {name: geometric(view) for name, view in all_ops.items()}
    return {
        "read": lambda steps: each(source.read_content, steps),
        "decode": lambda steps: each(decode_one, steps),
        "canvas": lambda steps: drain(steps, "device"),
        "geometry": lambda steps: drain(steps, "host", crops),
        "color": lambda steps: drain(steps, "host"),
        "transfer": transfer,
        "official": official,
    }


def _per_step(consume: Callable[[int], None], num_steps: int) -> tuple[float, float]:
    """Return CPU and wall seconds per step: the difference between a longer and a shorter stream."""
    costs = []
    for steps in (num_steps // 2, num_steps // 2 + num_steps):
        started, cpu_started = time.perf_counter(), time.process_time()
        consume(steps)
        costs.append((time.process_time() - cpu_started, time.perf_counter() - started))
    return tuple(max((long - short) / num_steps, 1e-9) for short, long in zip(*costs, strict=True))


def format_table(rows: list[dict[str, Any]]) -> str:
    """Format one line per stage; the last two columns compare speeds per CPU-second."""
    speed = {row["stage"]: row["pairs_per_cpu_second"] for row in rows}
    heads = f"{'per CPU-second':>16}{'per second':>12}{'of decoding':>13}{'x official':>12}"
    lines = [f"{'pairs of views':<42}{heads}"]
    for row in rows:
        own = row["pairs_per_cpu_second"]
        ratios = f"{own / speed['decode']:>13.0%}{own / speed['official']:>12.1f}"
        lines.append(f"{_TITLES[row['stage']]:<42}{own:>16.0f}{row['pairs_per_second']:>12.0f}{ratios}")
    return "\n".join(lines)


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw one bar per stage."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 0.5 * len(rows) + 1), layout="constrained")
    axes = figure.subplots()
    names, values = [_TITLES[row["stage"]] for row in rows], [row["pairs_per_cpu_second"] for row in rows]
    axes.bar_label(axes.barh(names, values), fmt="%.0f", padding=3)
    axes.invert_yaxis()
    axes.set(xlabel="pairs of views per CPU-second", xscale="log")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
