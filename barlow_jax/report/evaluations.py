"""Every evaluation beside the untrained encoder, and beside the papers."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import altair as alt

from barlow_jax.papers import tables
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
    missing = [run for run in runs if not tables.of_run(run.results) and "retrieve" not in run.results]
    for run in missing:
        command = element("code", formatting.command("evaluate", run.workdir))
        body.append(paragraph(f"{run.name} was not evaluated yet. This does it: ", command))
    return Section("evaluations", "What it is worth: evaluations", joined(body))


def _columns(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Results by kind of features; of several runs by run, and kind where that is not the pretrained encoder."""
    if len(runs) == 1:
        return tables.of_run(runs[0].results)
    return {
        run.name if kind == "pretrained" else f"{run.name}, {kind}": it
        for run in runs
        for kind, it in tables.of_run(run.results).items()
    }


def _by_kind(columns: Mapping[str, Any], num_runs: int) -> list[Html]:
    rows = list(tables.by_kind(columns))
    steps = [f"{name}: step {it['step']:,}" for name, it in columns.items() if it.get("step", -1) > 0]
    told = (
        "Accuracy of simple classifiers on frozen features (fine-tuned: of the whole encoder), by the share of the "
        "training labels that they learn from. The pretrained bar should be clearly the longest, and by the most where "
        "few labels are known. "
    )
    bars = [
        {"classifier": name.removesuffix(" of labels"), "features": column, "top1": value}
        for name, values in rows
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
    shown = [[name, *map(_percent, values)] for name, values in rows]
    return [
        paragraph(told, f"({'; '.join(steps)})" if steps else None),
        picture,
        table(["top-1, %", *columns], shown, "Top-1 in percent"),
    ]


def _beside_the_papers(runs: Sequence[Run], data: str) -> list[Html]:
    """Of runs on one data set."""
    ours = {run.name: tables.of_run(run.results).get("pretrained", {}) for run in runs}
    compared = {name: tables.beside_the_papers(it, data) for name, it in ours.items() if it}
    if not compared:
        return []
    setting, methods, _ = next(iter(compared.values()))
    by_name = {name: {row.name: row for row in one.rows} for name, one in compared.items()}
    shown = []
    for name in dict.fromkeys(name for rows in by_name.values() for name in rows):
        found = [rows.get(name) for rows in by_name.values()]
        theirs = next(row.theirs for row in found if row)
        values = [row.ours if row else None for row in found]
        shown.append([name, *(_percent(theirs.get(method)) for method in methods), *map(_percent, values)])
    encoders = ", ".join(
        dict.fromkeys(str(run.config.get("network.encoder", "another encoder")) for run in runs)
    )
    told = f"Published on {setting}; here {data} with {encoders}. In percent; - is not reported, or not measured."
    heads = ["%", *methods, *(["this run"] if len(compared) == 1 else compared)]
    return [
        element("h3", "Beside the papers"),
        paragraph(told),
        table(heads, shown, f"{data} beside published numbers"),
        *_why_not(by_name),
    ]


def _why_not(by_name: Mapping[str, Mapping[str, tables.Row]]) -> Iterator[Html]:
    why = dict.fromkeys(
        (row.name, row.why_not) for rows in by_name.values() for row in rows.values() if row.why_not
    )
    if why:
        lines = (element("li", element("b", name), f": {reason}") for name, reason in why)
        yield details("Why some are empty", element("ul", *lines))


def _retrieval(results: Mapping[str, Any], run: Run) -> list[Html]:
    rows = tables.retrieval(results, run.config.get("data.name", ""))
    keys = list(results["chance"]["image_to_text"])
    shown = [
        [name, *(_percent(row[way].get(key)) for way in _WAYS for key in keys)] for name, row in rows.items()
    ]
    heads = ["R@K, %", *(f"{way}, R@{key[1:]}" for way in _WAYS.values() for key in keys)]
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
