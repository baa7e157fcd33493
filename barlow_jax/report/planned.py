"""The plan beside what was measured."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from barlow_jax.report import series, words
from barlow_jax.report.facts import Run
from barlow_jax.report.html import Html, Section, element, joined, paragraph, table


def section(runs: Sequence[Run]) -> Section:
    body: list[Html] = []
    for run in runs:
        body += [element("h3", run.name)] if len(runs) > 1 else []
        body += _of_run(run)
    return Section("plan", "The plan beside what was measured", joined(body))


def _of_run(run: Run) -> list[Html]:
    result = run.results.get("plan")
    if result is None:
        command = f"python -m barlow_jax plan --workdir {run.workdir} --topology v5e:4x4"
        return [
            paragraph("There is no plan. This compiles the step for a TPU topology, and says what it costs there: ",
                      element("code", command)),
            *_measured(run),
        ]  # fmt: skip
    plans = result.get("rows", [result])
    return [part for plan in plans for part in _plan(plan, run)]


def _plan(plan: Mapping[str, Any], run: Run) -> list[Html]:
    name = (
        f"{plan.get('topology')}, {words.count(plan.get('chips', 0), 'chip')}, batch {plan.get('batch_size')}"
    )
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
    rate, batch = _rate(run), run.config.get("train.batch_size")
    devices = (run.provenance[-1].get("devices") or {}) if run.provenance else {}
    machine = (
        f"{devices['count']} {words.TIMES} {devices.get('kind')}" if devices.get("count") else "its devices"
    )
    rows = [
        ["step, ms", 1e3 * plan["step_s"], 1e3 * batch / rate if rate and batch else None],
        ["images a second", plan["images_per_second"], rate],
        ["images a second and chip", plan["images_per_second"] / plan["chips"],
         rate / devices["count"] if rate and devices.get("count") else None],
        ["peak memory a chip, MB", plan["peak_bytes"] / 1e6, None],
        ["whole recipe, hours", plan.get("hours"), _hours(run)],
    ]  # fmt: skip
    shown = [
        [name, words.number(planned), words.number(was), _times(planned, was)] for name, planned, was in rows
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


def _measured(run: Run) -> list[Html]:
    rate, batch = _rate(run), run.config.get("train.batch_size")
    if not rate:
        return []
    step = f", {words.number(1e3 * batch / rate)} ms a step" if batch else ""
    return [paragraph(f"Measured: {words.number(rate)} images a second{step}, the median of the rows.")]


def _rate(run: Run) -> float | None:
    """Median; the first row has the compilation."""
    rates = series.of(run, "images_per_second").finite
    rates = rates[1:] if len(rates) > 1 else rates
    return float(np.median(rates)) if len(rates) else None


def _hours(run: Run) -> float | None:
    status = run.status or {}
    done = status.get("state") == "finished" and "useful_seconds" in status
    return status["useful_seconds"] / 3600 if done else None


def _times(planned: float | None, measured: float | None) -> str:
    return f"{measured / planned:.2f} {words.TIMES}" if planned and measured is not None else "-"
