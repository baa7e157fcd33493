"""Augmented views and nearest neighbours sections."""

from typing import Any

from markupsafe import Markup
import numpy as np

from barlow_jax.report import inline_images, rendering
from barlow_jax.report.schema import ModelInspection, Neighbours


def render_views(inspection: ModelInspection | None, missing_reason: str) -> Markup:
    """Return cards of an image and its augmented views."""
    columns = inspection.views if inspection else {}
    cards = [
        {title: inline_images.tile(images[i], f"image {i + 1}, {title}") for title, images in columns.items()}
        for i in range(len(next(iter(columns.values()), ())))
    ]
    return rendering.render("views.html", cards=cards, missing_reason=_reason(inspection, missing_reason))


def render_neighbours(inspection: ModelInspection | None, missing_reason: str) -> Markup:
    """Return rows of a test image and its nearest training images."""
    rows, same_label = [], None
    if inspection:
        neighbours = inspection.neighbours
        rows = [_row(neighbours, index) for index in range(len(neighbours.queries))]
        labelled = neighbours.query_labels >= 0
        if len(np.unique(neighbours.labels[neighbours.labels >= 0])) > 1 and labelled.any():
            matches = neighbours.labels[labelled] == neighbours.query_labels[labelled, None]
            same_label = f"{np.mean(matches):.0%}"
    reason = _reason(inspection, missing_reason)
    return rendering.render("neighbours.html", rows=rows, same_label=same_label, missing_reason=reason)


def _row(neighbours: Neighbours, index: int) -> dict[str, Any]:
    query_label = int(neighbours.query_labels[index])
    query = f"test image {index + 1}, {_label_text(query_label)}"
    tiles = []
    columns = neighbours.images[index], neighbours.labels[index].tolist(), neighbours.cosines[index]
    for image, label, cosine in zip(*columns, strict=True):
        match = None if query_label < 0 else label == query_label
        comparison = {None: "no label", True: "same label", False: "different label"}[match]
        alt = f"training image, {_label_text(label)}, {comparison}, cosine {cosine:.2f}"
        caption = f"{label if label >= 0 else ''} {cosine:.2f}"
        tiles.append({"image": inline_images.tile(image, alt), "caption": caption, "match": match})
    return {
        "query": inline_images.tile(neighbours.queries[index], query),
        "query_label": _label_text(query_label),
        "tiles": tiles,
    }


def _label_text(label: int) -> str:
    return f"label {label}" if label >= 0 else "unlabelled"


def _reason(inspection: ModelInspection | None, missing_reason: str) -> str:
    return "There are no images to show." if inspection else missing_reason
