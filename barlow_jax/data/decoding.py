"""Decoding of image files in TensorFlow.

Most files have no EXIF block. TensorFlow ops recognize these by their first bytes, in 20 us per image, a
hundredth of decoding a photograph. Python reads the others, in 0.1 ms: their first bytes, and the whole only
if needed.
"""

import numpy as np
import tensorflow as tf

from barlow_jax.data import exif

# First bytes in hex ("." is any digit) of files without an EXIF block: JPEG without application segments, or
# with JFIF's alone, PNG whose pixels follow the header, GIF, BMP, and WebP without extensions.
_JFIF = "ffd8ffe00010" + 28 * "." + "ff"
_PNG = "89504e470d0a1a0a" + 58 * "." + "49444154"
_WEBP = "52494646........574542505650"
_JPEG = ("ffd8ffc.", "ffd8ffd.", f"{_JFIF}c.", f"{_JFIF}d.")
_PLAIN = (*_JPEG, _PNG, "47494638", "424d", f"{_WEBP}3820", f"{_WEBP}384c")
_NUM_BYTES = len(_PNG) // 2
_HEAD = 4096  # bytes; more of them take 1 us per KB on their way to Python


def decode(encoded: tf.Tensor, follow_exif: bool = True) -> tf.Tensor:
    """Decode JPEG, PNG, GIF, WebP or BMP bytes to `[height, width, 3]` uint8, bit for bit like PIL.

    Conversion follows PIL's `convert("RGB")`: CMYK and palettes become colors, alpha is dropped, 16 bits are
    cut to the upper 8 (in grey images too, where PIL saturates), and an animation is its first image. With
    `follow_exif` the image is turned like by PIL's `exif_transpose`.

    Raises:
      tf.errors.InvalidArgumentError: the bytes are in another format, or end early. Missing parts of an
        image are never filled in (`try_recover_truncated`). PIL refuses the same files.
    """
    image = tf.cond(
        tf.io.is_jpeg(encoded),
        lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_image(encoded, channels=3, expand_animations=False),
    )
    image = _upright(image, encoded) if follow_exif else image
    return tf.ensure_shape(image, [None, None, 3])


def _upright(image: tf.Tensor, encoded: tf.Tensor) -> tf.Tensor:
    """Turn and mirror a decoded image `[height, width, 3]` as the EXIF orientation in its file requires."""

    def read(part: tf.Tensor) -> tf.Tensor:
        # NumPy passes bytes in a graph, and an array of one object in eager mode.
        return tf.numpy_function(
            lambda value: exif.orientation(value if isinstance(value, bytes) else value.item()),
            [part],
            tf.int64,
            stateful=False,
        )

    def turned() -> tf.Tensor:
        value = read(tf.strings.substr(encoded, 0, _HEAD))
        value = tf.cond(value == 0, lambda: read(encoded), lambda: value)
        turns = [lambda turn=turn: _turn(image, *turn) for turn in exif.TURNS]
        return tf.switch_case(tf.cast(value, tf.int32), turns)

    return tf.cond(_is_plain(encoded), lambda: image, turned)


def _is_plain(encoded: tf.Tensor) -> tf.Tensor:
    """Return whether the first bytes are those of a file without an EXIF block."""
    head = tf.io.decode_raw(encoded, tf.uint8, fixed_length=_NUM_BYTES)
    return tf.reduce_any(tf.reduce_all(tf.bitwise.bitwise_and(head, _MASKS) == _WANTED, axis=-1))


def _digits(replace: dict[str, str]) -> np.ndarray:
    """Return `_PLAIN` as `[patterns, bytes]` uint8, padded with wildcards, after replacing hex digits."""
    rows = (pattern.ljust(2 * _NUM_BYTES, ".").translate(str.maketrans(replace)) for pattern in _PLAIN)
    return np.array([list(bytes.fromhex(row)) for row in rows], np.uint8)


_WANTED = _digits({".": "0"})
_MASKS = _digits(dict.fromkeys("0123456789abcdef", "f") | {".": "0"})


def _turn(image: tf.Tensor, swap: bool, axes: list[int]) -> tf.Tensor:
    image = tf.transpose(image, (1, 0, 2)) if swap else image
    return tf.reverse(image, axes) if axes else image
