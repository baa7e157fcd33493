"""Every evaluation beside the untrained encoder, and beside the papers."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import altair as alt

from barlow_jax.papers import tables
from barlow_jax.papers.scores import Evaluation, parse_evaluations, read_evaluations
from barlow_jax.report import charts, formatting
from barlow_jax.report.html import Digits, Html, Section, details, element, joined, paragraph, table
from barlow_jax.report.schema import Run

_WAYS = {"image_to_text": "image to text", "text_to_image": "text to image"}


def section(runs: Sequence[Run]) -> Section:
    body: list[Html] = []
    columns = _columns(runs)
    if columns:
        body += _by_kind(columns, len(runs))
        for data in dict.fromkeys(run.config.get("data.name", "other data") for run in runs):
            body += _beside_the_papers(
                [r for r in runs if r.config.get("data.name", "other data") == data], data
            )
    for run in runs:
        if "retrieve" in run.results:
            body += _retrieval(run.results["retrieve"], run)
    missing = [run for run in runs if not read_evaluations(run.results) and "retrieve" not in run.results]
    for run in missing:
        command = element("code", formatting.command("evaluate", run.workdir))
        body.append(paragraph(f"{run.name} was not evaluated yet. This does it: ", command))
    return Section("evaluations", "What it is worth: evaluations", joined(body))


def _columns(runs: Sequence[Run]) -> dict[str, Evaluation]:
    """Results by kind of features; of several runs by run, and kind where that is not the pretrained encoder."""
    if len(runs) == 1:
        return read_evaluations(runs[0].results)
    return {
        run.name if source == "pretrained" else f"{run.name}, {source}": evaluation
        for run in runs
        for source, evaluation in read_evaluations(run.results).items()
    }


def _by_kind(columns: Mapping[str, Evaluation], num_runs: int) -> list[Html]:
    rows = list(tables.rows_by_source(columns))
    steps = [f"{name}: step {e.step:,}" for name, e in columns.items() if e.step > 0]
    told = (
        "Accuracy of simple classifiers on frozen features (fine-tuned: of the whole encoder), by the share of the "
        "training labels that they learn from. The pretrained bar should be clearly the longest, and by the most where "
        "few labels are known. "
    )
    bars = [
        {"classifier": name.removesuffix(" of labels"), "features": column, "top1": value}
        for name, _, values in rows
        for column, value in zip(columns, values, strict=True)
        if value is not None
    ]
    names = list(columns)
    colors = [charts.color(place) for place in range(len(names))]
    if num_runs == 1:
        by_kind = {"pixels": "var(--muted)", "untrained": charts.color(1), "pretrained": charts.color(0)}
        colors = [by_kind[name] for name in names]
    chart = (
        alt.Chart(charts.data(bars))
        .mark_bar(cornerRadiusEnd=2)
        .encode(
            x=alt.X("top1:Q", title="top-1, %", scale=alt.Scale(domain=[0, 100])),
            y=alt.Y("classifier:N", title=None, sort=None, axis=alt.Axis(labelLimit=170)),
            yOffset=alt.YOffset("features:N", sort=names),
            color=alt.Color("features:N", title=None, scale=charts.scale(names, colors)),
            tooltip=["features:N", "classifier:N", alt.Tooltip("top1:Q", title="top-1, %", format=".1f")],
        )
    )
    height = 30 + min(17, 60 / len(names) + 4) * len(bars)
    picture = charts.figure(
        chart, "Top-1 by classifier and features, as in the table below", height=round(height)
    )
    shown = [[name, *map(_percent, values)] for name, _, values in rows]
    return [
        paragraph(told, f"({'; '.join(steps)})" if steps else None),
        picture,
        table(["top-1, %", *columns], shown, "Top-1 in percent"),
    ]


def _beside_the_papers(runs: Sequence[Run], data: str) -> list[Html]:
    """Of runs on one data set."""
    evaluations = {run.name: read_evaluations(run.results).get("pretrained") for run in runs}
    by_run = {name: tables.published_table(e, data) for name, e in evaluations.items() if e}
    if not by_run:
        return []
    setting, methods, _ = next(iter(by_run.values()))
    by_name = {name: {row.name: row for row in table_.rows} for name, table_ in by_run.items()}
    shown = []
    for name in dict.fromkeys(name for rows in by_name.values() for name in rows):
        found = [rows.get(name) for rows in by_name.values()]
        theirs = next(row.published for row in found if row)
        values = [row.measured if row else None for row in found]
        shown.append([name, *(_percent(theirs.get(method)) for method in methods), *map(_percent, values)])
    encoders = ", ".join(
        dict.fromkeys(str(run.config.get("network.encoder", "another encoder")) for run in runs)
    )
    told = f"Published on {setting}; here {data} with {encoders}. In percent; - is not reported, or not measured."
    heads = ["%", *methods, *(["this run"] if len(by_run) == 1 else by_run)]
    return [
        element("h3", "Beside the papers"),
        paragraph(told),
        table(heads, shown, f"{data} beside published numbers"),
        *_why_not(by_name),
    ]


def _why_not(by_name: Mapping[str, Mapping[str, tables.PublishedRow]]) -> Iterator[Html]:
    why = dict.fromkeys(
        (row.name, row.reason) for rows in by_name.values() for row in rows.values() if row.reason
    )
    if why:
        lines = (element("li", element("b", name), f": {reason}") for name, reason in why)
        yield details("Why some are empty", element("ul", *lines))


def _retrieval(results: Mapping[str, Any], run: Run) -> list[Html]:
    rows = tables.retrieval_rows(parse_evaluations(results), run.config.get("data.name", ""))
    ks = list(next(iter(rows.values()))["image_to_text"])
    shown = [[name, *(_percent(row[way].get(k)) for way in _WAYS for k in ks)] for name, row in rows.items()]
    heads = ["R@K, %", *(f"{way}, R@{k}" for way in _WAYS.values() for k in ks)]
    told = f"{run.name}: {formatting.count(results['images'], 'image')}, {formatting.count(results['captions'], 'caption')}, "
    return [
        element("h3", "Images by captions, captions by images"),
        paragraph(
            f"{told}{results['similarity']} similarity. Healthy is far above chance and the untrained encoders."
        ),
        table(heads, shown, "Retrieval, R@K in percent"),
    ]


def _percent(value: float | None) -> Digits:
    return Digits("-" if value is None else f"{value:.1f}")
