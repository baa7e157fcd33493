"""Where the network puts test images in a plane."""

from collections import Counter
from collections.abc import Mapping

import altair as alt
import numpy as np

from barlow_jax.report import charts, pictures
from barlow_jax.report.html import Html, Section, element, joined, paragraph, script
from barlow_jax.report.schema import Map, ModelInspection

_MOST_CLASSES = 10  # that have a colour of their own
_OTHERS, _UNLABELLED = "others", "unlabelled"


def section(look: ModelInspection | None, why_not: str) -> Section:
    """Each map; thumbnails that several of them share are in the page once."""
    title = "A map of the test images"
    if look is None or not look.maps:
        return Section("map", title, paragraph(why_not if look is None else "There is no map to show."))
    told = (
        "Each sign is a test image, where its representation lies in a plane, with its label. Good representations lie "
        "in groups of one label. Point at a sign for the image; a click in the legend picks a label."
    )
    stacks = {id(one.thumbnails): one.thumbnails for one in look.maps}
    names = {key: f"thumbnails-{place}" for place, key in enumerate(stacks)}
    images = [script([*map(pictures.data_url, stack)], id=names[key]) for key, stack in stacks.items()]
    drawn = [
        element("div", element("h3", one.method), _map(one, names[id(one.thumbnails)])) for one in look.maps
    ]
    return Section(
        "map", title, joined([paragraph(told), element("div", *drawn, class_="grid wide"), *images])
    )


def _map(it: Map, thumbnails: str) -> Html:
    """`thumbnails` is the element with the images, which the rows have by their places."""
    groups = _groups(it.labels)
    rows = [
        {"x": x, "y": y, "label": _named(label), "group": groups[label], "image": place}
        for place, ((x, y), label) in enumerate(zip(it.points, it.labels.tolist(), strict=True))
    ]
    shown = list(
        dict.fromkeys(groups[label] for label in sorted(groups, key=lambda x: (groups[x] == _OTHERS, x)))
    )
    colors = [
        "var(--muted)" if name in (_OTHERS, _UNLABELLED) else f"var(--class-{place})"
        for place, name in enumerate(shown)
    ]
    chart = alt.Chart(charts.data(rows), usermeta={"images": thumbnails})
    if all(0 <= label < 100 for label in groups):
        chart = chart.mark_text(fontSize=11, fontWeight="bold").encode(text="label:N")
    else:
        chart = chart.mark_circle(size=40)
    picked = alt.selection_point(fields=["group"], bind="legend")
    legend = alt.Legend(symbolType="circle") if shown != [_UNLABELLED] else None
    chart = chart.encode(
        x=_axis("x:Q", "first direction, no unit"),
        y=_axis("y:Q", "second direction, no unit"),
        color=alt.Color("group:N", title="label", scale=charts.scale(shown, colors), legend=legend),
        opacity=alt.condition(picked, alt.value(0.9), alt.value(0.08)),
        tooltip=["image:N", "label:N"],
    ).add_params(picked)
    return charts.figure(
        chart, f"Map of {len(rows)} test images of {len(groups)} labels by {it.method}", height=380
    )


def _axis(field: str, title: str) -> alt.X | alt.Y:
    channel = alt.X if field.startswith("x") else alt.Y
    axis = alt.Axis(labels=False, ticks=False, grid=False)
    return channel(field, title=title, axis=axis, scale=alt.Scale(zero=False, padding=12))


def _groups(labels: np.ndarray) -> Mapping[int, str]:
    """Names in the legend by label: the most frequent ones their own, as far as colours go."""
    counts = Counter(labels.tolist())
    own = {label for label, _ in counts.most_common(_MOST_CLASSES)}
    return {label: _named(label) if label in own or label < 0 else _OTHERS for label in counts}


def _named(label: int) -> str:
    return str(label) if label >= 0 else _UNLABELLED
