"""Training curves: one chart per quantity in metrics.jsonl, with all runs in each."""

from collections.abc import Iterator, Mapping, Sequence
import math
from typing import NamedTuple

import altair as alt
from markupsafe import Markup
import numpy as np

from barlow_jax.reporting import charts, formatting, rendering, series
from barlow_jax.reporting.schema import Run
from barlow_jax.training import diagnostics

_ONLY_IF_POSITIVE = {"skipped_steps", "decode_failures"}  # the summary already says that there are none


class ChartSpec(NamedTuple):
    """One chart of one or more metrics."""

    title: str
    axis: str  # quantity, with its unit
    lines: Mapping[str, str]  # metric -> name of its line
    caption: str = ""  # what a healthy run looks like
    factor: float = 1.0  # from the metric's unit to the axis's
    may_be_log: bool = False  # logarithmic if the values span more than a factor of 30
    threshold: str | None = None  # dashed line: a threshold of `diagnostics`, in the metric's unit


def _groups() -> dict[str, list[ChartSpec]]:
    """Return the charts of templates/charts.toml by heading."""
    tables = rendering.read_data("charts.toml")
    return {heading: [ChartSpec(title, **spec) for title, spec in t.items()] for heading, t in tables.items()}


def render(runs: Sequence[Run]) -> Markup:
    """Return the section; a metric without a chart of its own is drawn as a term of the loss."""
    columns = dict.fromkeys(key for run in runs for row in run.metrics for key in row)
    names, groups = [name for name in columns if name not in ("step", "epoch")], _groups()
    known = {name for specs in groups.values() for spec in specs for name in spec.lines}
    titles = {name: name.replace("_", " ") for name in names if name not in known}
    groups["Loss terms"] += [ChartSpec(t.capitalize(), t, {name: name}) for name, t in titles.items()]
    shown = {}
    for heading, specs in groups.items():
        # Without the lines that no run has.
        measured = [
            spec._replace(lines={n: spec.lines[n] for n in spec.lines if n in names}) for spec in specs
        ]
        shown[heading] = {spec.title: _chart(spec, runs) for spec in measured if _has_values(spec, runs)}
    has_metrics = any(run.metrics for run in runs)
    return rendering.render("curves.html", groups=shown, num_runs=len(runs), has_metrics=has_metrics)


def _has_values(spec: ChartSpec, runs: Sequence[Run]) -> bool:
    if not spec.lines:
        return False
    values = np.concatenate([series.read(run, name).values for run in runs for name in spec.lines])
    return len(values) > 0 and (not spec.lines.keys() <= _ONLY_IF_POSITIVE or bool(np.any(values > 0)))


def _chart(spec: ChartSpec, runs: Sequence[Run]) -> Markup:
    rows = list(_rows(spec, runs))
    axis = "epoch" if all(row["epoch"] is not None for row in rows) else "step"
    few = len(rows) <= 60 * len(runs) * len(spec.lines)
    x_axis = {"scale": alt.Scale(padding=8, nice=False), "axis": alt.Axis(tickMinStep=1, tickCount=8)}
    encoding = {
        "x": alt.X(f"{axis}:Q", title=axis, **x_axis),
        "y": alt.Y("value:Q", title=spec.axis, scale=_scale(spec, rows), axis=alt.Axis(tickCount=6)),
        "tooltip": [
            alt.Tooltip("run:N"),
            alt.Tooltip("line:N", title="metric"),
            alt.Tooltip("epoch:Q", format=".4~g"),
            alt.Tooltip("step:Q", format=",d"),
            alt.Tooltip("value:Q", title=spec.axis, format=".5~g"),
        ],
        "color": _color(runs),
    }
    point = {"size": 30 if few else 60, **({} if few else charts.INVISIBLE), "filled": True, "strokeWidth": 0}
    chart = alt.Chart(charts.data(rows)).mark_line(strokeWidth=2, point=point).encode(**encoding)
    chart = chart.add_params(charts.zoom())
    if len(spec.lines) > 1:
        dashes = alt.Scale(domain=list(spec.lines.values()), range=[[1, 0], [5, 4]])
        legend = alt.Legend(orient="bottom", symbolType="stroke", symbolStrokeWidth=2, symbolSize=500)
        chart = chart.encode(strokeDash=alt.StrokeDash("line:N", title=None, scale=dashes, legend=legend))
    if len(runs) > 1:
        chart = charts.legend_filter(chart, "run", 1, 0.12)
    if spec.threshold is not None:
        limit = charts.data([{"limit": spec.factor * getattr(diagnostics, spec.threshold)}])
        rule = alt.Chart(limit).mark_rule(strokeDash=[3, 3], opacity=0.6)
        chart = chart + rule.encode(y=alt.Y("limit:Q"))
    ranges = {run.name: ", ".join(_range(spec, run, name) for name in spec.lines) for run in runs}
    alternative = "; ".join(f"{name}: {text}" for name, text in ranges.items())
    shown = ranges[runs[0].name]
    caption = spec.caption.format(**vars(diagnostics))
    caption = f"{shown[0].upper()}{shown[1:]}. {caption}" if len(runs) == 1 else caption
    return charts.figure(chart, f"{spec.title} over {axis}s: {alternative}", caption, 190)


def _rows(spec: ChartSpec, runs: Sequence[Run]) -> Iterator[dict[str, float | str | None]]:
    for run in runs:
        for name, line in spec.lines.items():
            for step, epoch, value in zip(*series.read(run, name).downsampled(), strict=True):
                yield {
                    "run": run.name,
                    "line": line,
                    "step": step,
                    "epoch": None if math.isnan(epoch) else epoch,
                    "value": value * spec.factor,
                }


def _color(runs: Sequence[Run]) -> alt.Color:
    legend = None
    if len(runs) > 1:
        legend = alt.Legend(title=None, symbolType="stroke", symbolStrokeWidth=3, symbolSize=300)
    return alt.Color("run:N", scale=charts.color_scale([run.name for run in runs]), legend=legend)


def _scale(spec: ChartSpec, rows: Sequence[Mapping]) -> alt.Scale:
    values = [row["value"] for row in rows if math.isfinite(row["value"])]
    if spec.may_be_log and values and min(values) > 0 and max(values) > 30 * min(values):
        return alt.Scale(type="log", padding=8)
    return alt.Scale(zero=False, padding=8)


def _range(spec: ChartSpec, run: Run, name: str) -> str:
    finite = series.read(run, name).finite * spec.factor
    line = f"{spec.lines[name]} " if len(spec.lines) > 1 else ""
    if not len(finite):
        return f"{line}no values"
    first, last = formatting.number(finite[0]), formatting.number(finite[-1])
    return f"{line}from {first} to {last}" if len(finite) > 1 else f"{line}only {first}"
