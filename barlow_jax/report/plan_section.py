"""The plan beside what was measured."""

from collections.abc import Mapping, Sequence
from typing import Any

from barlow_jax.report import formatting, series
from barlow_jax.report.html import Digits, Html, Section, element, joined, paragraph, table
from barlow_jax.report.schema import Run


def section(runs: Sequence[Run]) -> Section:
    body: list[Html] = []
    for run in runs:
        if result := run.results.get("plan"):
            body += [element("h3", run.name)] if len(runs) > 1 else []
            body += [part for plan in result.get("rows", [result]) for part in _plan(plan, run)]
    if without := [run for run in runs if not run.results.get("plan")]:
        command = formatting.command("plan", without[0].workdir, "--topology", "v5e:4x4")
        told = f"{', '.join(run.name for run in without)}: there is no plan. "
        if len(runs) == 1:
            told = "There is no plan. "
        told += "This compiles the step for a TPU topology, and says what it costs there: "
        body.append(paragraph(told, element("code", command)))
        rows = [[run.name, *(Digits(formatting.number(it)) for it in _measured(run))] for run in without]
        body.append(
            table(["measured", "images a second", "ms a step"], rows, "Medians of the rows of the metrics")
        )
    return Section("plan", "The plan beside what was measured", joined(body))


def _plan(plan: Mapping[str, Any], run: Run) -> list[Html]:
    name = f"{plan.get('topology')}, {formatting.count(plan.get('chips', 0), 'chip')}, batch {plan.get('batch_size')}"
    if plan.get("case") and plan["case"] != plan.get("topology"):
        name = f"{plan['case']}: {name}"
    if not plan.get("fits"):
        remedies = [element("li", remedy) for remedy in plan.get("remedies", ())]
        return [
            paragraph(
                element("b", name), f" does not fit: {plan.get('why', 'no reason given')}. What would help:"
            ),
            element("ul", *remedies),
        ]
    rate, step = _measured(run)
    devices = (run.provenance[-1].get("devices") or {}) if run.provenance else {}
    machine = (
        f"{devices['count']} {formatting.TIMES} {devices.get('kind')}"
        if devices.get("count")
        else "its devices"
    )
    rows = [
        ["step, ms", 1e3 * plan["step_s"], step],
        ["images a second", plan["images_per_second"], rate],
        [
            "images a second and chip",
            plan["images_per_second"] / plan["chips"],
            rate / devices["count"] if rate and devices.get("count") else None,
        ],
        ["peak memory a chip, MB", plan["peak_bytes"] / 1e6, None],
        ["whole recipe, hours", plan.get("hours"), _hours(run)],
    ]
    shown = [
        [name, *map(Digits, (formatting.number(planned), formatting.number(was), _times(planned, was)))]
        for name, planned, was in rows
    ]
    told = (
        f"The plan is for {name}; the run was on {machine}. A plan is a bound, {plan['bound']} taking all of the time: on "
        "the same machine the measured step is somewhat longer, and twice as long or more says that something "
        "else, such as the data, sets the pace. Memory is not measured while a run trains."
    )
    return [
        paragraph(told),
        table(["", "plan", "measured", "measured / plan"], shown, f"Plan for {name} beside the run"),
    ]


def _measured(run: Run) -> tuple[float | None, float | None]:
    """Images a second; milliseconds a step."""
    rate, batch = series.rate(run), run.config.get("train.batch_size")
    return rate, 1e3 * batch / rate if rate and batch else None


def _hours(run: Run) -> float | None:
    status = run.status or {}
    done = status.get("state") == "finished" and "useful_seconds" in status
    return status["useful_seconds"] / 3600 if done else None


def _times(planned: float | None, measured: float | None) -> str:
    return f"{measured / planned:.2f} {formatting.TIMES}" if planned and measured is not None else "-"
