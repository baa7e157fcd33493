"""Augmented views and nearest neighbors sections."""

from typing import Any

from markupsafe import Markup
import numpy as np

from barlow_jax.reporting import inline_images, rendering
from barlow_jax.reporting.schema import ModelInspection, Neighbors

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
        alt = f"training image, {_label_text(label)}, {comparison}, cosine {cosine:.2f}"
        caption = f"{label if label >= 0 else ''} {cosine:.2f}"
        tiles.append({"image": inline_images.tile(image, alt), "caption": caption, "match": match})
    return {
        "query": inline_images.tile(neighbors.queries[index], query),
        "query_label": _label_text(query_label),
        "tiles": tiles,
    }


def _label_text(label: int) -> str:
    return f"label {label}" if label >= 0 else "unlabeled"
