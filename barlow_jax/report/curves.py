"""What the metrics say while a run trains: one small chart a quantity, all runs over one another."""

from collections.abc import Iterator, Mapping, Sequence
import math

import altair as alt
import numpy as np

from barlow_jax.report import chart_specs, charts, series
from barlow_jax.report.chart_specs import ONLY_WHERE_ANY, Panel
from barlow_jax.report.html import Html, Section, element, paragraph
from barlow_jax.report.schema import Run


def section(runs: Sequence[Run]) -> Section:
    """Of all that the rows have; a metric that this file does not know is a term of the method's."""
    title = "How it learned"
    if not any(run.metrics for run in runs):
        return Section("curves", title, paragraph("No metrics: metrics.jsonl is missing or has no rows."))
    how = "Each point has its numbers. Zoom with Ctrl and the wheel, move by dragging, a double click resets."
    if len(runs) > 1:
        how += " A click in a legend picks a run, with Shift several."
    body = [paragraph("Every row of metrics.jsonl, colour = run. ", how, class_="hint")]
    names = list(dict.fromkeys(name for run in runs for name in series.names(run)))
    for name, group in chart_specs.groups(names).items():
        if drawn := [_drawn(panel, runs) for panel in group if _is_there(panel, runs)]:
            body += [element("h3", name), element("div", *drawn, class_="grid")]
    return Section("curves", title, element("div", *body))


def _is_there(panel: Panel, runs: Sequence[Run]) -> bool:
    values = np.concatenate([series.of(run, name).values for run in runs for name in panel.lines])
    return len(values) > 0 and (not set(panel.lines) <= set(ONLY_WHERE_ANY) or bool(np.any(values > 0)))


def _drawn(panel: Panel, runs: Sequence[Run]) -> Html:
    rows = list(_rows(panel, runs))
    axis = "epoch" if all(row["epoch"] is not None for row in rows) else "step"
    few = len(rows) <= 60 * len(runs) * len(panel.lines)
    encoding = {
        "x": alt.X(
            f"{axis}:Q", title=axis, scale=alt.Scale(padding=8, nice=False), axis=alt.Axis(tickMinStep=1)
        ),
        "y": alt.Y("value:Q", title=panel.axis, scale=_scale(panel, rows), axis=alt.Axis(tickCount=6)),
        "tooltip": [
            alt.Tooltip("run:N"),
            alt.Tooltip("line:N", title="what"),
            alt.Tooltip("epoch:Q", format=".4~g"),
            alt.Tooltip("step:Q", format=",d"),
            alt.Tooltip("value:Q", title=panel.axis, format=".5~g"),
        ],
    }
    point = {"size": 30 if few else 60, **({} if few else charts.UNSEEN), "filled": True, "strokeWidth": 0}
    chart = alt.Chart(charts.data(rows)).mark_line(strokeWidth=2, point=point).encode(**encoding)
    chart = chart.encode(color=_color(runs)).add_params(charts.zoom())
    if len(panel.lines) > 1:
        names = list(panel.lines.values())
        dashes = alt.Scale(domain=names, range=[[1, 0], [5, 4]])
        legend = alt.Legend(
            symbolStrokeColor="currentColor", symbolType="stroke", orient="bottom", symbolStrokeWidth=2
        )
        chart = chart.encode(strokeDash=alt.StrokeDash("line:N", title=None, scale=dashes, legend=legend))
    if len(runs) > 1:
        picked = alt.selection_point(fields=["run"], bind="legend")
        chart = chart.encode(opacity=alt.condition(picked, alt.value(1), alt.value(0.12))).add_params(picked)
    if panel.threshold is not None:
        rule = alt.Chart(charts.data([{"limit": panel.threshold}])).mark_rule(strokeDash=[3, 3], opacity=0.6)
        chart = chart + rule.encode(y=alt.Y("limit:Q"))
    told = "; ".join(_told(panel, run, name) for run in runs for name in panel.lines)
    drawn = charts.figure(chart, f"{panel.title} over {axis}s: {told}", panel.note, 190)
    return element("div", element("h4", panel.title), drawn)


def _rows(panel: Panel, runs: Sequence[Run]) -> Iterator[dict[str, float | str | None]]:
    for run in runs:
        for name, line in panel.lines.items():
            for step, epoch, value in zip(*series.of(run, name).thinned(), strict=True):
                yield {
                    "run": run.name,
                    "line": line,
                    "step": step,
                    "epoch": None if math.isnan(epoch) else epoch,
                    "value": value * panel.factor,
                }


def _color(runs: Sequence[Run]) -> alt.Color:
    legend = alt.Legend(title=None, symbolType="stroke", symbolStrokeWidth=3) if len(runs) > 1 else None
    return alt.Color("run:N", scale=charts.scale([run.name for run in runs]), legend=legend)


def _scale(panel: Panel, rows: Sequence[Mapping]) -> alt.Scale:
    values = [row["value"] for row in rows if math.isfinite(row["value"])]
    if panel.may_be_log and values and min(values) > 0 and max(values) > 30 * min(values):
        return alt.Scale(type="log", padding=8)
    return alt.Scale(zero=False, padding=8)


def _told(panel: Panel, run: Run, name: str) -> str:
    finite = series.of(run, name).finite * panel.factor
    if not len(finite):
        return f"{run.name}: no values"
    return f"{run.name}, {panel.lines[name]}: from {finite[0]:.3g} to {finite[-1]:.3g}"
