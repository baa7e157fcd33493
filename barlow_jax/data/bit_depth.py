"""Images of 16 bits per channel: a warning if they use a part of the range alone.

Decoding keeps the upper 8 bits, which is right for values 0..65535. Of 12-bit values it leaves 16.
"""

import numpy as np
import tensorflow as tf

from barlow_jax.data.sources import Source
from barlow_jax.io import log

_NUM_IMAGES = 16  # that are read
_WIDE_ENOUGH = 2**15  # range of values


def warn_of_narrow_range(source: Source) -> None:
    """Log a warning if the 16-bit images among some of the split use less than half of the range."""
    indices = np.linspace(0, source.num_examples - 1, min(source.num_examples, _NUM_IMAGES)).astype(int)
    limits = {index: found for index in indices.tolist() if (found := _limits(source, index))}
    if not limits:
        return
    low, high = min(low for low, _ in limits.values()), max(high for _, high in limits.values())
    if high - low < _WIDE_ENOUGH:
        name = source.decode_failures.name(next(iter(limits)))
        log.warning(
            f"{len(limits)} of {len(indices)} images examined have 16 bits per channel, with values "
            f"{low}..{high} of 0..65535, for example {name}. Decoding keeps the upper 8 bits: "
            f"{(high >> 8) - (low >> 8) + 1} of 256 pixel values. Scale the images to the full range first."
        )


def _limits(source: Source, index: int) -> tuple[int, int] | None:
    """Return the smallest and the largest value of an image; None if it has no 16 bits or is unreadable."""
    try:
        (record,) = source.fetch(tf.constant([index], tf.int64))
        encoded = source.parse(record)[0].numpy()
        # In a PNG, bit depth and color type follow width and height.
        if not encoded.startswith(b"\x89PNG") or encoded[24:25] != b"\x10":
            return None
        pixels = tf.io.decode_png(encoded, dtype=tf.uint16).numpy()
    except tf.errors.OpError:  # reported when the image is used
        return None
    has_alpha = encoded[25] in (4, 6)
    pixels = pixels[..., :-1] if has_alpha else pixels
    return int(pixels.min()), int(pixels.max())
