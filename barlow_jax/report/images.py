"""What the network is given, what it takes for alike, and where it puts images in a plane."""

from collections import Counter
from collections.abc import Mapping, Sequence

import altair as alt
import numpy as np

from barlow_jax.report import charts, pictures
from barlow_jax.report.facts import Look, Map, Neighbours
from barlow_jax.report.html import Html, Section, element, joined, paragraph

_MOST_CLASSES = 10  # that have a colour of their own
_OTHERS, _UNLABELLED = "others", "unlabelled"


def views(look: Look | None, why_not: str) -> Section:
    title = "What it was given: two views of an image"
    if look is None or not look.views:
        return Section("views", title, paragraph(why_not if look is None else "There are no views to show."))
    columns = list(look.views)
    cards = []
    for place in range(len(look.views[columns[0]])):
        tiles = [
            element("figure", pictures.tile(look.views[name][place], f"image {place + 1}, {name}"),
                    element("figcaption", name))
            for name in columns
        ]  # fmt: skip
        cards.append(element("div", *tiles, class_="card tiles"))
    words = (
        "Each card is one image and what the augmentation made of it. A person should still see that the views are of "
        "one thing, and that little but the thing is common to them."
    )
    return Section("views", title, joined([paragraph(words), element("div", *cards, class_="cards")]))


def neighbours(look: Look | None, why_not: str) -> Section:
    """Rows of a test image and what is nearest to it."""
    title = "What it takes for alike: nearest neighbours"
    it = look.neighbours if look else None
    if it is None or not len(it.queries):
        return Section(
            "neighbours", title, paragraph(why_not if look is None else "There are no neighbours to show.")
        )
    words = "A test image, and the training images with the most similar representations, by cosine, the nearest first."
    labelled = it.query_labels >= 0
    if labelled.any():
        same = it.found_labels[labelled] == it.query_labels[labelled, None]
        words += (
            f" ✓ and a solid frame: the same label; ✗ and a dashed one: another. Of these neighbours {same.mean():.0%} "
            "have the label of the test image."
        )
    rows = [_row(it, place) for place in range(len(it.queries))]
    return Section("neighbours", title, joined([paragraph(words), element("div", *rows, class_="rows")]))


def maps(look: Look | None, why_not: str) -> Section:
    title = "A map of the test images"
    if look is None or not look.maps:
        return Section("map", title, paragraph(why_not if look is None else "There is no map to show."))
    words = (
        "Each sign is the label of a test image, where its representation lies in a plane. Good representations lie in "
        "groups of one label. Point at a sign for the image; a click in the legend picks a label."
    )
    drawn = [element("div", element("h3", one.method), _map(one)) for one in look.maps]
    return Section("map", title, joined([paragraph(words), element("div", *drawn, class_="grid wide")]))


def _row(it: Neighbours, place: int) -> Html:
    label = int(it.query_labels[place])
    query = element(
        "figure", pictures.tile(it.queries[place], f"test image {place + 1}, {_label(label)}"),
        element("figcaption", f"test, {_label(label)}"), class_="query",
    )  # fmt: skip
    found = []
    for image, other, cosine in zip(it.found[place], it.found_labels[place], it.cosines[place], strict=True):
        kind, sign = ("", "") if label < 0 else ("same", "✓ ") if other == label else ("other", "✗ ")
        told = {"same": "the same label", "other": "another label", "": "no label"}[kind]
        alternative = f"training image, {_label(int(other))}, {told}, cosine {cosine:.2f}"
        words = f"{sign}{int(other) if other >= 0 else ''} {cosine:.2f}"
        found.append(
            element(
                "figure", pictures.tile(image, alternative), element("figcaption", words), class_=kind or None
            )
        )
    return element("div", query, *found, class_="tiles neighbours")


def _label(label: int) -> str:
    return f"label {label}" if label >= 0 else _UNLABELLED


def _map(it: Map) -> Html:
    names = [str(int(label)) if label >= 0 else _UNLABELLED for label in it.labels]
    groups = _groups(it.labels)
    rows = [
        {"x": x, "y": y, "label": name, "group": groups[int(label)], "image": pictures.data_url(thumbnail)}
        for (x, y), label, name, thumbnail in zip(it.points, it.labels, names, it.thumbnails, strict=True)
    ]
    shown = list(
        dict.fromkeys(
            groups[label] for label in sorted(groups, key=lambda one: (groups[one] == _OTHERS, one))
        )
    )
    colors = ["var(--muted)" if name in (_OTHERS, _UNLABELLED) else f"var(--class-{place})"
              for place, name in enumerate(shown)]  # fmt: skip
    signed = all(len(name) <= 2 for name in names)
    chart = alt.Chart(charts.data(rows))
    chart = chart.mark_text(fontSize=11, fontWeight="bold") if signed else chart.mark_circle(size=40)
    picked = alt.selection_point(fields=["group"], bind="legend")
    axis = alt.Axis(labels=False, ticks=False, grid=False)
    chart = chart.encode(
        x=alt.X("x:Q", title="first direction, no unit", axis=axis, scale=alt.Scale(zero=False, padding=12)),
        y=alt.Y("y:Q", title="second direction, no unit", axis=axis, scale=alt.Scale(zero=False, padding=12)),
        color=alt.Color("group:N", title="label", scale=charts.scale(shown, colors),
                        legend=alt.Legend(symbolType="circle") if shown != [_UNLABELLED] else None),
        opacity=alt.condition(picked, alt.value(0.9), alt.value(0.08)),
        tooltip=["image:N", "label:N"],
    ).add_params(picked)  # fmt: skip
    if signed:
        chart = chart.encode(text="label:N")
    told = f"Map of {len(rows)} test images by {it.method}, coloured by {len(set(names))} labels"
    return charts.figure(chart, told, height=380)


def _groups(labels: Sequence[int] | np.ndarray) -> Mapping[int, str]:
    """Names in the legend by label: the most frequent ones their own, as far as colours go."""
    counts = Counter(int(label) for label in labels)
    own = {label for label, _ in counts.most_common(_MOST_CLASSES)}
    return {label: _UNLABELLED if label < 0 else str(label) if label in own else _OTHERS for label in counts}
