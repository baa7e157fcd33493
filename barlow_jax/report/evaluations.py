"""Every evaluation beside the untrained encoder, and beside the papers."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt

from barlow_jax import standings
from barlow_jax.report import charts, scores, words
from barlow_jax.report.facts import Run
from barlow_jax.report.html import Html, Section, details, element, joined, paragraph, table

_WAYS = {"image_to_text": "image to text", "text_to_image": "text to image"}


def section(runs: Sequence[Run]) -> Section:
    body: list[Html] = []
    for run in runs:
        body += [element("h3", run.name)] if len(runs) > 1 else []
        body += _of_run(run)
    return Section("evaluations", "What it is worth: evaluations", joined(body))


def _of_run(run: Run) -> list[Html]:
    body, results = [], scores.by_kind(run)
    if results:
        body += _by_kind(results)
        body += _beside_the_papers(results.get("pretrained", {}), run)
    if "retrieve" in run.results:
        body += _retrieval(run.results["retrieve"], run)
    if not body:
        command = element("code", f"python -m barlow_jax evaluate --workdir {run.workdir}")
        body = [
            paragraph("Nothing was evaluated yet. This does, and writes results/evaluate.json: ", command)
        ]
    return body


def _by_kind(results: Mapping[str, Any]) -> list[Html]:
    rows = list(standings.by_kind(results))
    steps = [f"{kind}: step {it['step']:,}" for kind, it in results.items() if it.get("step", -1) > 0]
    told = (
        "Accuracy of simple classifiers on frozen features (fine-tuned: of the whole encoder). The pretrained bar should "
        "be clearly the longest; where few labels are known, the distance should be largest. "
    )
    bars = [
        {"classifier": name.removesuffix(" of labels"), "features": kind, "top1": value}
        for name, values in rows
        for kind, value in zip(results, values, strict=True)
        if value is not None
    ]
    colors = {"pixels": "var(--muted)", "untrained": charts.color(1), "pretrained": charts.color(0)}
    chart = alt.Chart(charts.data(bars)).mark_bar(cornerRadiusEnd=2).encode(
        x=alt.X("top1:Q", title="top-1, %", scale=alt.Scale(domain=[0, 100])),
        y=alt.Y("classifier:N", title=None, sort=None, axis=alt.Axis(labelLimit=170)),
        yOffset=alt.YOffset("features:N", sort=list(results)),
        color=alt.Color("features:N", title=None, scale=charts.scale(list(results), [colors[k] for k in results])),
        tooltip=["features:N", "classifier:N", alt.Tooltip("top1:Q", title="top-1, %", format=".1f")],
    )  # fmt: skip
    picture = charts.figure(chart, "Top-1 accuracies by classifier and features; the table has them", None,
                            30 + 17 * len(bars))  # fmt: skip
    shown = [[name, *map(_percent, values)] for name, values in rows]
    return [
        paragraph(told, f"({'; '.join(steps)})" if steps else None),
        picture,
        table(["top-1, %", *results], shown, "Top-1 in percent by features"),
    ]


def _beside_the_papers(ours: Mapping[str, Any], run: Run) -> list[Html]:
    setting, methods, rows = standings.beside_the_papers(ours, run.config.get("data.name", ""))
    shown = [[row.name, *(_percent(row.theirs.get(m)) for m in methods), _percent(row.ours)] for row in rows]
    why = [element("li", element("b", row.name), f": {row.why_not}") for row in rows if row.why_not]
    told = f"Published on {setting}; this run is on {run.config.get('data.name', 'other data')}"
    told += f" with {run.config.get('network.encoder', 'another encoder')}. In percent; - is not reported, or not measured."
    return [
        element("h4", "Beside the papers"),
        paragraph(told),
        table(["%", *methods, "this run"], shown, "This run beside published numbers"),
        *([details(f"Why {words.count(len(why), 'row')} of this run {'is' if len(why) == 1 else 'are'} empty",
                   element("ul", *why))] if why else []),
    ]  # fmt: skip


def _retrieval(results: Mapping[str, Any], run: Run) -> list[Html]:
    rows = standings.retrieval(results, run.config.get("data.name", ""))
    keys = list(results["chance"]["image_to_text"])
    shown = [
        [name, *(_percent(row[way].get(key)) for way in _WAYS for key in keys)] for name, row in rows.items()
    ]
    heads = ["R@K, %", *(f"{way}, R@{key[1:]}" for way in _WAYS.values() for key in keys)]
    told = (
        f"{results['images']:,} images, {results['captions']:,} captions, {results['similarity']} similarity."
    )
    return [element("h4", "Images by captions, captions by images"), paragraph(told),
            table(heads, shown, "Retrieval, R@K in percent")]  # fmt: skip


def _percent(value: float | None) -> Html:
    """As a number of the table, with one digit."""
    text = "-" if value is None else f"{value:.1f}"
    return element("span", text, class_="number")
