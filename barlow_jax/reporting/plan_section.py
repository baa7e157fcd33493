"""Plan section: the cost estimate of `plan` next to the measured run."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from barlow_jax.reporting import formatting, rendering, series
from barlow_jax.reporting.schema import Run


def render(runs: Sequence[Run]) -> Markup:
    """Return the section."""
    plans, unplanned = {}, []
    for run in runs:
        if result := run.results.get("plan"):
            plans[run.name] = [_plan(plan, run) for plan in result.get("rows", [result])]
        else:
            unplanned.append(run)
    rows = [[run.name, *map(formatting.number, _measured(run))] for run in unplanned]
    heads = ["measured", "images per second", "ms per step"]
    return rendering.render(
        "plan.html",
        plans=plans,
        num_runs=len(runs),
        unplanned=[run.name for run in unplanned],
        command=formatting.command("plan", (unplanned or runs)[0].workdir, "--topology", "v5e:4x4"),
        measured=rendering.table(heads, rows, "Medians over the rows of metrics.jsonl"),
    )


def _plan(plan: Mapping[str, Any], run: Run) -> dict[str, Any]:
    chips = formatting.count(plan.get("chips", 0), "chip")
    name = f"{plan.get('topology')}, {chips}, batch size {plan.get('batch_size')}"
    if plan.get("case") and plan["case"] != plan.get("topology"):
        name = f"{plan['case']}: {name}"
    if not plan.get("fits"):
        reason = plan.get("reason", "no reason recorded")
        return {"name": name, "fits": False, "reason": reason, "remedies": plan.get("remedies", ())}
    count = run.devices.get("count")
    devices = f"{count} {formatting.TIMES} {run.devices.get('kind')}" if count else "unknown devices"
    table = _comparison(plan, run, f"Plan for {name} and measured run")
    return {"name": name, "fits": True, "bound": plan["bound"], "devices": devices, "table": table}


def _comparison(plan: Mapping[str, Any], run: Run, caption: str) -> Markup:
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
    return rendering.table(["quantity", "measured", "plan", "measured / plan"], cells, caption)


def _measured(run: Run) -> tuple[float | None, float | None]:
    """Return images per second and milliseconds per step."""
    rate, batch_size = series.images_per_second(run), run.config.get("train.batch_size")
    return rate, 1e3 * batch_size / rate if rate and batch_size else None
