"""Arrays as images that are a part of the page."""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from barlow_jax.report.html import Html, element

_MOST_PIXELS = 160  # a side; no tile is shown larger
_TINY = 48  # up to here each pixel is to be seen
# Of -1 and of 1, of mid lightness: seen on white and on black. 0 is transparent, the page itself.
_NEGATIVE, _POSITIVE = (20, 110, 235), (228, 78, 12)


def data_url(image: np.ndarray) -> str:
    """Of `[height, width, 3]` uint8 levels; the smaller of PNG and JPEG, at most 160 pixels a side."""
    picture = Image.fromarray(np.ascontiguousarray(image))
    picture.thumbnail((_MOST_PIXELS, _MOST_PIXELS))
    jpeg = _encoded(picture, "jpeg", quality=85)
    if max(picture.size) > _TINY:
        return jpeg
    return min(_encoded(picture, "png", optimize=True), jpeg, key=len)


def tile(image: np.ndarray, alt: str, **attributes: Any) -> Html:
    """An image as large as its neighbours; one of a few pixels keeps them as squares."""
    tiny = "tiny" if max(image.shape[:2]) <= _TINY else None
    return element("img", src=data_url(image), alt=alt, class_=tiny, **attributes)


def heat_map(matrix: np.ndarray, alt: str) -> Html:
    """Of values in -1..1, a square a cell: from blue over the page's colour at 0 to orange. What is not finite is
    green."""
    index = np.where(np.isfinite(matrix), np.clip(np.nan_to_num(matrix), -1, 1) * 127 + 127, 255)
    coloured = Image.frombytes("P", matrix.shape[::-1], np.rint(index).astype(np.uint8).tobytes())
    levels = [(_NEGATIVE if i < 127 else _POSITIVE) for i in range(255)] + [(0, 160, 0)]
    coloured.putpalette([part for level in levels for part in level])
    alphas = bytes(round(255 * abs(i - 127) / 127) for i in range(255)) + b"\xff"
    url = _encoded(coloured, "png", optimize=True, transparency=alphas)
    return element("img", src=url, alt=alt, class_="matrix")


def color_bar() -> Html:
    """The scale of heat maps."""
    picture = heat_map(np.linspace(-1, 1, 255)[None], "")
    ends = [element("span", text) for text in ("-1", "0", "1")]
    return element("div", picture, element("div", *ends, class_="ends"), class_="color-bar")


def _encoded(picture: Image.Image, kind: str, **options: Any) -> str:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"
