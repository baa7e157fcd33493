"""EXIF orientation: how the camera was held, a tag in JPEG, PNG and WebP files."""

from collections.abc import Iterator
import struct

import numpy as np

_ORIENTATION, _VALUE_FORMATS = 0x0112, {3: "H", 4: "I"}  # tag, and its value's types SHORT and LONG
# By orientation: whether rows and columns are swapped, and the axes reversed afterwards. 0: not known.
_REVERSED = ([], [], [1], [0, 1], [0], [], [1], [0, 1], [0])
TURNS = [(orientation > 4, axes) for orientation, axes in enumerate(_REVERSED)]


def turn(image: np.ndarray, value: int) -> np.ndarray:
    """Turn and mirror `[height, width, C]` pixels as an EXIF orientation requires."""
    swap, axes = TURNS[value]
    return np.flip(image.swapaxes(0, 1) if swap else image, axes)


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
