"""Augmented views, nearest neighbors and projection sections: images, and what the encoder makes of them."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import altair as alt
from markupsafe import Markup
import numpy as np

from barlow_jax.reporting import charts, inline_images, rendering
from barlow_jax.reporting.schema import ModelInspection, Neighbors, Projection

_MAX_CLASSES = 10  # with a color of their own, --class-0 to --class-9 of the style sheet
_OTHERS, _UNLABELED = "others", "unlabeled"
_NO_IMAGES = "There are no images to show."


def render_views(inspection: ModelInspection) -> Markup:
    """Return cards of an image and its augmented views."""
    columns = inspection.views
    cards = [
        {title: inline_images.tile(images[i], f"image {i + 1}, {title}") for title, images in columns.items()}
        for i in range(len(next(iter(columns.values()), ())))
    ]
    return rendering.render("views.html", cards=cards) if cards else rendering.paragraph(_NO_IMAGES)


def render_neighbors(inspection: ModelInspection) -> Markup:
    """Return rows of a test image and its nearest training images."""
    neighbors, same_label = inspection.neighbors, None
    rows = [_row(neighbors, index) for index in range(len(neighbors.queries))]
    if not rows:
        return rendering.paragraph(_NO_IMAGES)
    labeled = neighbors.query_labels >= 0
    if len(np.unique(neighbors.labels[neighbors.labels >= 0])) > 1 and labeled.any():
        matches = neighbors.labels[labeled] == neighbors.query_labels[labeled, None]
        same_label = f"{np.mean(matches):.0%}"
    return rendering.render("neighbors.html", rows=rows, same_label=same_label)


def _row(neighbors: Neighbors, index: int) -> dict[str, Any]:
    query_label = int(neighbors.query_labels[index])
    query = f"test image {index + 1}, {_label_text(query_label)}"
    tiles = []
    columns = neighbors.images[index], neighbors.labels[index].tolist(), neighbors.cosines[index]
    for image, label, cosine in zip(*columns, strict=True):
        match = None if query_label < 0 else label == query_label
        comparison = {None: "no label", True: "same label", False: "different label"}[match]
        description = f"training image, {_label_text(label)}, {comparison}, cosine {cosine:.2f}"
        caption = f"{label if label >= 0 else ''} {cosine:.2f}"
        tiles.append({"image": inline_images.tile(image, description), "caption": caption, "match": match})
    return {
        "query": inline_images.tile(neighbors.queries[index], query),
        "query_label": _label_text(query_label),
        "tiles": tiles,
    }


def _label_text(label: int) -> str:
    return f"label {label}" if label >= 0 else "unlabeled"


def render_projection(inspection: ModelInspection) -> Markup:
    """Return the section; thumbnails that several projections share are in the page once."""
    projections = inspection.projections
    if not projections:
        reason = "There are fewer than 3 test images, or their representations are equal or not finite."
        return rendering.paragraph(reason)
    stacks = {id(projection.thumbnails): projection.thumbnails for projection in projections}
    ids = {key: f"thumbnails-{index}" for index, key in enumerate(stacks)}
    return rendering.render(
        "projection.html",
        charts={p.method: _projection_chart(p, ids[id(p.thumbnails)]) for p in projections},
        thumbnails={ids[key]: [*map(inline_images.data_url, stack)] for key, stack in stacks.items()},
    )


def _projection_chart(projection: Projection, thumbnails_id: str) -> Markup:
    """Draw one projection. Rows refer to thumbnails by their index in the element with this id."""
    groups = _legend_groups(projection.labels)
    labeled_points = zip(projection.points, projection.labels.tolist(), strict=True)
    rows = [
        {"x": x, "y": y, "label": _projected_label(label), "group": groups[label], "image": index}
        for index, ((x, y), label) in enumerate(labeled_points)
    ]
    ordered = sorted(groups, key=lambda label: (groups[label] == _OTHERS, label))
    legend_names = list(dict.fromkeys(groups[label] for label in ordered))
    colors = [
        "var(--muted)" if name in (_OTHERS, _UNLABELED) else f"var(--class-{index})"
        for index, name in enumerate(legend_names)
    ]
    chart = alt.Chart(charts.data(rows), usermeta={"images": thumbnails_id})
    if all(0 <= label < 100 for label in groups):
        chart = chart.mark_text(fontSize=11, fontWeight="bold").encode(text="label:N")
    else:
        chart = chart.mark_circle(size=40)
    scale = charts.color_scale(legend_names, colors)
    legend = alt.Legend(symbolType="circle") if legend_names != [_UNLABELED] else None
    chart = chart.encode(
        x=alt.X("x:Q", title="first dimension, no unit", **_axis_options()),
        y=alt.Y("y:Q", title="second dimension, no unit", **_axis_options()),
        color=alt.Color("group:N", title="label", scale=scale, legend=legend),
        tooltip=["image:N", "label:N"],
    )
    description = f"{projection.method} projection of {len(rows)} test images of {len(groups)} labels"
    return charts.figure(charts.legend_filter(chart, "group", 0.9, 0.08), description, height=380)


def _axis_options() -> dict[str, Any]:
    axis = alt.Axis(labels=False, ticks=False, grid=False)
    return {"axis": axis, "scale": alt.Scale(zero=False, padding=12)}


def _legend_groups(labels: np.ndarray) -> Mapping[int, str]:
    """Return legend names by label: the most frequent labels have their own, the rest share one."""
    counts = Counter(labels.tolist())
    own = {label for label, _ in counts.most_common(_MAX_CLASSES)}
    return {label: _projected_label(label) if label in own or label < 0 else _OTHERS for label in counts}


def _projected_label(label: int) -> str:
    return str(label) if label >= 0 else _UNLABELED
