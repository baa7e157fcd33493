"""Evaluations section: scores by feature source, next to published numbers, and image-text retrieval."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import altair as alt
from markupsafe import Markup
import numpy as np

from barlow_jax.papers import scores as scores_lib, tables
from barlow_jax.papers.scores import FEATURE_SOURCES, PRETRAINED, Evaluation, read_evaluations
from barlow_jax.reporting import charts, formatting, rendering
from barlow_jax.reporting.schema import Run
from barlow_jax.reporting.summary_section import unusable_labels


def render(runs: Sequence[Run]) -> Markup:
    """Return the section."""
    columns = _columns(runs)
    by_data: dict[str, list[Run]] = {}
    for run in runs:
        by_data.setdefault(run.config.get("data.name", "unknown data"), []).append(run)
    comparisons = [_comparison(group, data) for data, group in by_data.items()]
    unusable = {run.name: text for run in runs if (text := unusable_labels(run))}
    evaluated = {run.name for run in runs if read_evaluations(run.results) or "retrieve" in run.results}
    not_evaluated = [run for run in runs if run.name not in {*evaluated, *unusable}]
    return rendering.render(
        "evaluations.html",
        steps={name: column[0].step for name, column in columns.items() if column[0].step > 0},
        seeds=max(map(len, columns.values()), default=0),
        scores=_scores(columns, len(runs)) if columns else None,
        more_scores=[scores for run in runs for scores in _more_scores(run)],
        comparisons=[comparison for comparison in comparisons if comparison],
        retrieval=[_retrieval(run) for run in runs if "retrieve" in run.results],
        unusable=unusable,
        not_evaluated={run.name: formatting.command("evaluate", run.workdir) for run in not_evaluated},
    )


def seed_groups(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Group runs whose configs differ in the seed alone, by the name that stands for the group."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        recipe = repr(sorted((key, repr(v)) for key, v in run.config.items() if key != "seed"))
        groups.setdefault(recipe if run.config else run.name, []).append(run)
    named = {}
    for group in groups.values():
        if len({run.config.get("seed") for run in group}) < len(group):  # a repeat is not another seed
            named |= {run.name: [run] for run in group}
        elif len(group) > 1:
            named[f"{group[0].name} and {formatting.count(len(group) - 1, 'other seed')}"] = group
        else:
            named[group[0].name] = group
    return named


def _columns(runs: Sequence[Run]) -> dict[str, list[Evaluation]]:
    """Return the evaluations of each seed by feature source or group of runs, pretrained encoders first."""
    columns: dict[str, list[Evaluation]] = {}
    for source in reversed(FEATURE_SOURCES):
        for name, group in seed_groups(runs).items():
            title = source if len(runs) == 1 else name if source == PRETRAINED else f"{name}, {source}"
            evaluations = [read_evaluations(run.results).get(source) for run in group]
            if present := [evaluation for evaluation in evaluations if evaluation]:
                columns[title] = present
    return columns


def _scores(columns: Mapping[str, Sequence[Evaluation]], num_runs: int) -> dict[str, Markup]:
    rows, bars = [], []
    flat = {(name, seed): e for name, column in columns.items() for seed, e in enumerate(column)}
    for row in tables.rows_by_source(flat):
        by_column: dict[str, list[float]] = {name: [] for name in columns}
        for (name, _), value in row.values.items():
            by_column[name] += [] if value is None else [value]
        rows.append([row.name, *(_mean_and_std(values) for values in by_column.values())])
        for name, values in by_column.items():
            if values:
                mean, std = np.mean(values), np.std(values, ddof=1) if len(values) > 1 else 0.0
                bar = {"classifier": row.name.removesuffix(" of labels"), "features": name, "top1": mean}
                bars.append(bar | {"low": mean - std, "high": mean + std})
    names = list(columns)
    by_source = {"pixels": "var(--muted)", "untrained": charts.color(1), "pretrained": charts.color(0)}
    colors = [by_source[name] for name in names] if num_runs == 1 else None
    base = alt.Chart(charts.data(bars)).encode(
        y=alt.Y("classifier:N", title=None, sort=None, axis=alt.Axis(labelLimit=170)),
        yOffset=alt.YOffset("features:N", sort=names),
        tooltip=["features:N", "classifier:N", alt.Tooltip("top1:Q", title="top-1, %", format=".1f")],
    )
    chart = base.mark_bar(cornerRadiusEnd=2).encode(
        x=alt.X("top1:Q", title="top-1, %", scale=alt.Scale(domain=[0, 100])),
        color=alt.Color("features:N", title=None, scale=charts.color_scale(names, colors)),
    )
    if any(len(column) > 1 for column in columns.values()):
        chart = chart + base.mark_rule(strokeWidth=2, clip=True).encode(x="low:Q", x2="high:Q")
    height = round(30 + min(17, 60 / len(names) + 4) * len(bars))
    return {
        "chart": charts.figure(chart, "Top-1 accuracy, as in the table below", height=height),
        "table": rendering.table(["top-1, %", *columns], rows, "Top-1 in percent"),
    }


def _mean_and_std(values: Sequence[float]) -> str | None:
    if not values:
        return None
    std = f" ± {np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{np.mean(values):.1f}{std}"


def _more_scores(run: Run) -> Iterator[tuple[str, Sequence[Markup]]]:
    """Yield what the scores were measured on, and tables that the chart's table lacks.

    These are the balanced accuracy on the run's own data, and all accuracies on other data.
    """
    for results in (run.results, *run.other_results):
        columns = dict(reversed(read_evaluations(results).items()))  # the pretrained encoder first
        where = scores_lib.describe_data(results)
        if not (columns and where):
            continue
        shown = []
        for metric, title in (("top1", "top-1, %"), ("balanced_accuracy", "balanced, %")):
            rows = [
                [row.name, *_percents(row.values.values())] for row in tables.rows_by_source(columns, metric)
            ]
            if rows and (metric != "top1" or results is not run.results):
                shown.append(rendering.table([title, *columns], rows, f"{title} on {where}"))
        yield f"{run.name}: {where}", shown


def _comparison(runs: Sequence[Run], data: str) -> dict[str, Any] | None:
    """Compare runs on one data set with published numbers of that data set; else return their transfer."""
    pretrained = {run.name: read_evaluations(run.results).get("pretrained") for run in runs}
    compared = {name: tables.published_table(e, data) for name, e in pretrained.items() if e}
    if not compared:
        return None
    setting, methods, _ = next(iter(compared.values()))
    if not tables.has_published(data):
        setting, methods = None, ()
    by_run = [{row.name: row for row in comparison.rows} for comparison in compared.values()]
    rows = []
    for name in dict.fromkeys(name for run_rows in by_run for name in run_rows):
        run_row = [run_rows.get(name) for run_rows in by_run]
        paper = next(row.published for row in run_row if row)
        measured = [row.measured if row else None for row in run_row]
        if setting is None and (not name.startswith("transfer") or measured == [None] * len(measured)):
            continue
        rows.append([name, *_percents([*measured, *map(paper.get, methods)])])
    if not rows:
        return None
    heads = ["%", *(["this run"] if len(compared) == 1 else compared), *methods]
    return {
        "setting": setting,  # what the papers measured on; None if they have no numbers for this data set
        "data": data,
        "encoders": ", ".join(
            dict.fromkeys(str(run.config.get("network.encoder", "unknown encoder")) for run in runs)
        ),
        "table": rendering.table(heads, rows, f"Scores of encoders trained on {data}, in percent"),
        # Row, and why it was not measured.
        "missing": list(dict.fromkeys((r.name, r.reason) for rs in by_run for r in rs.values() if r.reason)),
    }


def _retrieval(run: Run) -> dict[str, Any]:
    results = run.results["retrieve"]
    evaluations = scores_lib.parse_evaluations(results)
    by_source = tables.retrieval_rows(evaluations, run.config.get("data.name", ""))
    ks = list(next(iter(by_source.values()))["image_to_text"])
    rows = [
        [name, *_percents(row[direction].get(k) for direction in tables.DIRECTIONS for k in ks)]
        for name, row in by_source.items()
    ]
    heads = ["R@K, %", *(f"{title}, R@{k}" for title in tables.DIRECTIONS.values() for k in ks)]
    return {
        "name": run.name,
        "images": scores_lib.describe_record(results["data"]),
        "captions": formatting.count(results["captions"], "caption"),
        "similarity": results["similarity"],
        "table": rendering.table(heads, rows, "Retrieval, R@K in percent"),
    }


def _percents(values: Iterable[float | None]) -> list[str | None]:
    return [None if value is None else f"{value:.1f}" for value in values]
