"""Plan section: the cost estimate of `plan` next to the measured run."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from barlow_jax.reporting import formatting, rendering, series
from barlow_jax.reporting.schema import Run


def render(runs: Sequence[Run]) -> Markup:
    """Return the section."""
    plans = {run.name: (run, run.results["plan"]) for run in runs if run.results.get("plan")}
    unplanned = [run for run in runs if run.name not in plans]
    rows = [[run.name, *map(formatting.number, _measured(run))] for run in unplanned]
    heads = ["measured", "images per second", "ms per step"]
    return rendering.render(
        "plan.html",
        plans=plans,
        num_runs=len(runs),
        unplanned=[run.name for run in unplanned],
        command=formatting.command("plan", (unplanned or runs)[0].workdir, "--topology", "v5e:4x4"),
        measured=rendering.table(heads, rows, "Medians over the rows of metrics.jsonl"),
        count=formatting.count,
        compare=_comparison,
    )


def _comparison(plan: Mapping[str, Any], run: Run, name: str) -> Markup:
    (rate, step_ms), count = _measured(run), run.devices.get("count")
    rate_per_chip = rate / count if rate and count else None
    status = run.status or {}
    finished = status.get("state") == "finished" and "useful_seconds" in status
    rows = [
        ["step, ms", 1e3 * plan["step_s"], step_ms],
        ["images per second", plan["images_per_second"], rate],
        ["images per second and chip", plan["images_per_second"] / plan["chips"], rate_per_chip],
        ["peak memory per chip, MB", plan["peak_bytes"] / 1e6, None],
        ["whole run, hours", plan.get("hours"), status["useful_seconds"] / 3600 if finished else None],
    ]
    cells = []
    for title, planned, measured in rows:
        compares = run.on_tpu and planned and measured is not None
        ratio = f"{measured / planned:.2f} {formatting.TIMES}" if compares else "-"
        cells.append([title, formatting.number(measured), formatting.number(planned), ratio])
    return rendering.table(
        ["quantity", "measured", "plan", "measured / plan"], cells, f"Plan for {name} and measured run"
    )


def _measured(run: Run) -> tuple[float | None, float | None]:
    """Return images per second and milliseconds per step."""
    rate, batch_size = series.images_per_second(run), run.config.get("train.batch_size")
    return rate, 1e3 * batch_size / rate if rate and batch_size else None
