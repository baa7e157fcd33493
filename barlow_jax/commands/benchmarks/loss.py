"""`bench loss`: time, memory and collectives of each form of the loss, here or compiled for a TPU."""

import argparse
from collections.abc import Callable, Sequence
import statistics
import time
from typing import Any

import jax

from barlow_jax.config.schema import Config
from barlow_jax.errors import UserError
from barlow_jax.experiment import lowering
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.io import log
from barlow_jax.io.paths import Path
from barlow_jax.planning.roofline import Cost, DoesNotFit, compile_new
from barlow_jax.planning.tpu import Topology

# "all-reduce" sums the D x D matrix over the devices, as the official code does; on one device, see "direct".
FORMS = {
    "all-reduce": {"objective.form": "direct", "mesh.embeddings": "rows"},
    "direct": {"objective.form": "direct", "mesh.embeddings": "features"},
    "gram": {"objective.form": "gram", "mesh.embeddings": "features"},
}
_REPEATS = 5
_MEASURES = {  # axis label of each panel of the plot, and the factor to its unit
    "seconds": ("ms", 1e3),
    "temporary_bytes": ("MB of temporaries", 1e-6),
    "flops": ("Gflop", 1e-9),
    "collective_bytes": ("MB in collectives", 1e-6),
}


def run(config: Config, workdir: Path | None, args: argparse.Namespace) -> dict[str, Any]:
    """Return one row for each N, D and form, per device; with a workdir, also draw a plot."""
    topology, devices, name = choose_devices(args)
    sizes = [(n, d) for n in _numbers(args.rows, "--rows") for d in _numbers(args.widths, "--widths")]
    for n, d in sizes:
        if n % len(devices) or d % len(devices):
            raise UserError(f"--rows {n} --widths {d}: both must be divisible by the {len(devices)} devices.")
    log.info(f"loss and gradient on {name}, per device")
    rows = []
    for n, d in sizes:
        for row in _compare(config, n, d, devices, measure=topology is None):
            rows.append(row)
            log.info(_line(row))
    if workdir:
        path = workdir / "results" / "bench-loss.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        _plot(rows, name, path)
        log.info(f"plot: {path}")
    return {"devices": name, "rows": rows}


def choose_devices(args: argparse.Namespace) -> tuple[Topology | None, Sequence[jax.Device], str]:
    """Return the topology of --topology (None without it), its devices or this machine's, and their name."""
    topology = Topology.parse(args.topology) if args.topology else None
    devices = topology.devices() if topology else jax.devices()
    return topology, devices, topology.name if topology else f"{len(devices)} x {devices[0].device_kind}"


def _compare(
    config: Config, num_rows: int, width: int, devices: Sequence[jax.Device], *, measure: bool
) -> list[dict[str, Any]]:
    rows, timed = [], {}
    for form, settings in FORMS.items():
        if form == "all-reduce" and len(devices) == 1:
            continue
        row: dict[str, Any] = {"rows": num_rows, "width": width, "form": form}
        rows.append(row)
        sizes = {"train.batch_size": num_rows, "network.projector": (width,), "mesh.projector": "replicated"}
        experiment = Experiment.from_config(config.replace(sizes | settings), devices)
        abstract = lowering.abstract_embeddings(experiment.config)
        lowered = lowering.jit_loss(experiment.config, experiment.layout).lower(abstract)
        try:
            compiled = compile_new(lowered)
        except DoesNotFit as error:
            row |= {"fits": False, "reason": str(error)}
            continue
        row |= {"fits": True} | Cost.from_compiled(lowered, compiled).summary()
        if measure:
            timed[form] = _make_call(compiled, abstract, experiment)
    for form, seconds in median_seconds(timed).items():
        next(row for row in rows if row["form"] == form)["seconds"] = seconds
    return rows


def _make_call(compiled: Callable, abstract: dict[str, Any], experiment: Experiment) -> Callable[[], Any]:
    """Return a call on random embeddings that are already on the devices."""
    keys = jax.random.split(jax.random.key(0), len(abstract))
    embeddings = {
        name: jax.device_put(jax.random.normal(key, leaf.shape, leaf.dtype), experiment.layout.batch)
        for key, (name, leaf) in zip(keys, abstract.items(), strict=True)
    }
    return lambda: jax.block_until_ready(compiled(embeddings))


def median_seconds(timed: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Return the median seconds of each; they take turns, so that other load affects all equally."""
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(_REPEATS + 1):
        for name, call in timed.items():
            started = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(calls[1:]) for name, calls in seconds.items()}  # the first call warms up


def _numbers(text: str, flag: str) -> list[int]:
    try:
        numbers = [int(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 2:
        raise UserError(f"{flag} is {text!r}, but must be integers >= 2, separated by commas.")
    return numbers


def _line(row: dict[str, Any]) -> str:
    head = f"N {row['rows']:>6}  D {row['width']:>6}  {row['form']:<10}"
    if not row["fits"]:
        return f"{head}  does not fit: {row['reason']}"
    shown = [f"{row[name] * scale:>10.1f} {unit}" for name, (unit, scale) in _MEASURES.items() if name in row]
    return f"{head}{'  '.join(shown)}"


def _plot(rows: Sequence[dict[str, Any]], device_name: str, path: Path) -> None:
    """Draw one panel per measure over D, with one line per form and N."""
    from matplotlib.figure import Figure

    shown = {name: label for name, label in _MEASURES.items() if any(row.get(name) for row in rows)}
    figure = Figure(figsize=(4 * len(shown), 3.5), layout="constrained")
    figure.suptitle(f"Barlow Twins loss and gradient, one device of {device_name}")
    panels = figure.subplots(1, len(shown), squeeze=False)[0]
    for axes, (name, (label, scale)) in zip(panels, shown.items(), strict=True):
        for form in FORMS:
            for num_rows in sorted({row["rows"] for row in rows}):
                line = [r for r in rows if (r["form"], r["rows"]) == (form, num_rows) and r.get(name)]
                if line:
                    points = [[r["width"] for r in line], [r[name] * scale for r in line]]
                    axes.plot(*points, marker="o", label=f"{form}, N {num_rows}")
        axes.set(xscale="log", yscale="log", xlabel="D", title=label)
    axes.legend(fontsize="small")
    figure.savefig(path, dpi=120)
