"""Arrays as images inside the page, encoded in data URLs."""

import base64
import io
from typing import Any

from markupsafe import Markup
import numpy as np
from PIL import Image

_MAX_PIXELS = 160  # per side; no tile is shown larger
_TINY_PIXELS = 48  # up to this side, pixels are shown as squares
# Colors of -1 and 1, of medium lightness: visible on white and on black. 0 is transparent.
_NEGATIVE, _POSITIVE, _NOT_FINITE = (20, 110, 235), (228, 78, 12), (0, 160, 0)


def data_url(image: np.ndarray) -> str:
    """Encode `[height, width, 3]` uint8 as the smaller of PNG and JPEG, at most 160 pixels per side."""
    picture = Image.fromarray(np.ascontiguousarray(image))
    picture.thumbnail((_MAX_PIXELS, _MAX_PIXELS))
    jpeg = _encode(picture, "jpeg", quality=85)
    if max(picture.size) > _TINY_PIXELS:
        return jpeg
    return min(_encode(picture, "png", optimize=True), jpeg, key=len)


def tile(image: np.ndarray, alt: str) -> Markup:
    """Return an image tile; all tiles have the same size, set by the style sheet."""
    tiny = Markup(' class="tiny"') if max(image.shape[:2]) <= _TINY_PIXELS else ""
    return Markup('<img src="{}" alt="{}"{}>').format(data_url(image), alt, tiny)


def heat_map(matrix: np.ndarray, alt: str) -> Markup:
    """Return an image of values in [-1, 1]: blue, transparent at 0, orange; green where not finite."""
    index = np.where(np.isfinite(matrix), np.clip(np.nan_to_num(matrix), -1, 1) * 127 + 127, 255)
    picture = Image.frombytes("P", matrix.shape[::-1], np.rint(index).astype(np.uint8).tobytes())
    palette = [(_NEGATIVE if i < 127 else _POSITIVE) for i in range(255)] + [_NOT_FINITE]
    picture.putpalette([channel for color in palette for channel in color])
    alphas = bytes(round(255 * abs(i - 127) / 127) for i in range(255)) + b"\xff"
    url = _encode(picture, "png", optimize=True, transparency=alphas)
    return Markup('<img src="{}" alt="{}" class="matrix">').format(url, alt)


def _encode(picture: Image.Image, image_format: str, **options: Any) -> str:
    stream = io.BytesIO()
    picture.save(stream, image_format, **options)
    return f"data:image/{image_format};base64,{base64.b64encode(stream.getvalue()).decode()}"
