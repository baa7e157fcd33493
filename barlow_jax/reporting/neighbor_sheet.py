"""Contact sheet of images and their nearest neighbors by their features."""

import os
import pathlib

import numpy as np

from barlow_jax.evals.neighbors import nearest
from barlow_jax.experiment.embedding import Features
from barlow_jax.io import log
from barlow_jax.reporting import contact_sheet


def draw(table: Features, neighbors: int, number: int, out: pathlib.Path) -> None:
    """Draw a row for each of some images: the image, and its nearest neighbors with their cosines."""
    queries = np.linspace(0, len(table) - 1, min(number, len(table))).astype(int)
    rows, cosines = nearest(table.features[queries], table.features, neighbors, exclude=queries)
    cells = np.concatenate([queries[:, np.newaxis], rows], axis=1)  # of the sheet: row numbers of the table
    images = table.images(cells)

    def describe(row: int) -> str:
        label = table.labels[row]
        has_label = label.ndim == 0 and label >= 0
        return f"label {label}" if has_label else _shorten(os.path.basename(table.names[row]))

    captions = [
        [describe(query), *(f"{cosine:.3f}  {describe(n)}" for n, cosine in zip(near, values, strict=True))]
        for (query, *near), values in zip(cells, cosines, strict=True)
    ]
    titles = ["image", *(f"nearest {number}" for number in range(1, cells.shape[1]))]
    contact_sheet.draw(images, out, titles=titles, captions=captions)
    log.info(f"nearest neighbors of {len(queries)} images: {out}")


def _shorten(name: str, length: int = 12) -> str:
    return name if len(name) <= length else f"…{name[1 - length :]}"
