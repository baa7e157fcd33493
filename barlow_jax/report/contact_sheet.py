"""A contact sheet: images in rows and columns, with words above the columns and below each."""

from collections.abc import Sequence
import math
import pathlib

import numpy as np

from barlow_jax.io import files

SUFFIXES = (".png", ".pdf", ".svg")
_CELL_INCHES = 1.4
_LINE_INCHES = 0.2  # of a caption


def draw(
    images: Sequence[Sequence[np.ndarray]],
    out: pathlib.Path,
    *,
    titles: Sequence[str] = (),
    captions: Sequence[Sequence[str]] | None = None,
) -> None:
    """Writes the sheet, of SUFFIXES.

    Args:
      images: by row and column, each `[height, width, 3]` uint8 levels.
      out: the file.
      titles: of the columns.
      captions: of the images, one line each.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows, columns = len(images), len(images[0])
    line = _LINE_INCHES if captions else 0.0
    figure = Figure(figsize=(_CELL_INCHES * columns, (_CELL_INCHES + line) * rows))
    FigureCanvasAgg(figure)
    gaps = {"wspace": 0.05, "hspace": 0.05 + line / _CELL_INCHES}
    axes = figure.subplots(rows, columns, squeeze=False, gridspec_kw=gaps)
    for row, column in np.ndindex(rows, columns):
        axes[row, column].imshow(images[row][column], interpolation="nearest")
        axes[row, column].set_axis_off()
        if captions:
            below = {"transform": axes[row, column].transAxes, "ha": "center", "va": "top", "fontsize": 7}
            axes[row, column].text(0.5, -0.03, captions[row][column], **below)
    for column, title in enumerate(titles):
        axes[0, column].set_title(title, fontsize=9)
    dpi = max(100, math.ceil(images[0][0].shape[1] / _CELL_INCHES))  # a pixel of ours is one there
    files.write(
        out, lambda file: figure.savefig(file, format=out.suffix[1:].lower(), bbox_inches="tight", dpi=dpi)
    )
