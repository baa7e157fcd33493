"""EXIF orientation: how the camera was held, a tag in JPEG, PNG and WebP files.

Most files have no EXIF block. TensorFlow ops recognize these by their first bytes, in 20 us per image, a
hundredth of decoding a photograph. Python reads the others, in 0.1 ms: their first bytes, and the whole only
if needed.
"""

from collections.abc import Iterator
import struct

import numpy as np
import tensorflow as tf

# First bytes in hex ("." is any digit) of files without an EXIF block: JPEG without application segments, or
# with JFIF's alone, PNG whose pixels follow the header, GIF, BMP, and WebP without extensions.
_JFIF = "ffd8ffe00010" + 28 * "." + "ff"
_PNG = "89504e470d0a1a0a" + 58 * "." + "49444154"
_WEBP = "52494646........574542505650"
_PLAIN = (
    "ffd8ffc.",
    "ffd8ffd.",
    f"{_JFIF}c.",
    f"{_JFIF}d.",
    _PNG,
    "47494638",
    "424d",
    f"{_WEBP}3820",
    f"{_WEBP}384c",
)
_NUM_BYTES = len(_PNG) // 2
_HEAD = 4096  # bytes; more of them take 1 us per KB on their way to Python
_ORIENTATION, _VALUE_FORMATS = 0x0112, {3: "H", 4: "I"}  # tag, and its value's types SHORT and LONG
# By orientation: whether rows and columns are swapped, and the axes reversed afterwards. 0: not known.
_TURNS = {
    0: (False, []),
    1: (False, []),
    2: (False, [1]),
    3: (False, [0, 1]),
    4: (False, [0]),
    5: (True, []),
    6: (True, [1]),
    7: (True, [0, 1]),
    8: (True, [0]),
}


def upright(image: tf.Tensor, encoded: tf.Tensor) -> tf.Tensor:
    """Turn and mirror a decoded image `[height, width, 3]` as the EXIF orientation in its file requires."""

    def read(part: tf.Tensor) -> tf.Tensor:
        # NumPy passes bytes in a graph, and an array of one object in eager mode.
        return tf.numpy_function(
            lambda value: orientation(value if isinstance(value, bytes) else value.item()),
            [part],
            tf.int64,
            stateful=False,
        )

    def turned() -> tf.Tensor:
        value = read(tf.strings.substr(encoded, 0, _HEAD))
        value = tf.cond(value == 0, lambda: read(encoded), lambda: value)
        turns = [lambda turn=turn: _turn(image, *turn) for turn in _TURNS.values()]
        return tf.switch_case(tf.cast(value, tf.int32), turns)

    return tf.cond(_is_plain(encoded), lambda: image, turned)


def orientation(encoded: bytes) -> int:
    """Return the EXIF orientation of an image file, 1 to 8; 0 if these bytes end before it."""
    try:
        block = next((content for name, content in _blocks(encoded) if _is_exif(name, content)), b"")
        block = block.removeprefix(b"Exif\0\0")
        order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
        if order is None:
            return 1
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        (num_entries,) = struct.unpack_from(f"{order}H", block, start)
        for at in range(start + 2, start + 2 + 12 * num_entries, 12):
            tag, kind = struct.unpack_from(f"{order}HH", block, at)
            if tag == _ORIENTATION and kind in _VALUE_FORMATS:
                (value,) = struct.unpack_from(order + _VALUE_FORMATS[kind], block, at + 8)
                return value if 1 <= value <= 8 else 1
        return 1
    except struct.error:
        return 0


def _is_exif(name: bytes, content: bytes) -> bool:
    return name in (b"eXIf", b"EXIF") or (name == b"\xff\xe1" and content.startswith(b"Exif\0\0"))


def _blocks(encoded: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and content of a JPEG's segments up to its pixels, or of all chunks of a PNG or a WebP.

    Raises:
      struct.error: the bytes end.
    """
    if encoded.startswith(b"\xff\xd8"):
        at, marker = 2, b""
        while marker != b"\xff\xda":
            marker, length = struct.unpack_from(">2sH", encoded, at)
            if marker == b"\xff\xff":  # padding
                at += 1
                continue
            yield marker, encoded[at + 4 : at + 2 + length]
            at += 2 + length
    elif encoded.startswith(b"\x89PNG"):
        at = 8
        while True:
            length, name = struct.unpack_from(">I4s", encoded, at)
            yield name, encoded[at + 8 : at + 8 + length]
            at += 12 + length  # a checksum follows
    elif encoded.startswith(b"RIFF"):
        at = 12
        while True:
            name, length = struct.unpack_from("<4sI", encoded, at)
            yield name, encoded[at + 8 : at + 8 + length]
            at += 8 + length + length % 2


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
