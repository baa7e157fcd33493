"""Images of 16 bits per channel: a warning if they use a part of the range alone.

Decoding keeps the upper 8 bits, which is right for values 0..65535. Of 12-bit values it leaves 16.
"""

from collections.abc import Callable

import numpy as np

from barlow_jax.data.image_formats import decode, read_header
from barlow_jax.data.pixel_arrays import DecodeError
from barlow_jax.io import log

_NUM_IMAGES = 16  # that are read
_WIDE_ENOUGH = 2**15  # range of values


def warn_of_narrow_range(
    number: int, read: Callable[[int], bytes | np.ndarray], name: Callable[[int], str]
) -> None:
    """Log a warning if the 16-bit images among some of a split's use less than half of the range.

    `read` returns the content of an image, or its pixels.
    """
    indices = np.linspace(0, number - 1, min(number, _NUM_IMAGES)).astype(int).tolist()
    limits = {index: found for index in indices if (found := _limits(read, index))}
    if not limits:
        return
    low, high = min(low for low, _ in limits.values()), max(high for _, high in limits.values())
    if high - low < _WIDE_ENOUGH:
        log.warning(
            f"{len(limits)} of {len(indices)} images examined have 16 bits per channel, with values "
            f"{low}..{high} of 0..65535, for example {name(next(iter(limits)))}. Decoding keeps the upper 8 "
            f"bits: {(high >> 8) - (low >> 8) + 1} of 256 pixel values. Scale the images to the full range "
            "first, or use --images or config.data.name=images with config.data.pixel_dtype=float32."
        )


def _limits(read: Callable[[int], bytes | np.ndarray], index: int) -> tuple[int, int] | None:
    """Return the smallest and the largest value of an image; None if it has no 16 bits or is unreadable."""
    try:
        content = read(index)
        if read_header(content).dtype != "uint16":
            return None
        pixels = decode(content)
    except (DecodeError, OSError):  # reported when the image is used
        return None
    return int(pixels.min()), int(pixels.max())
