"""Random access to TFRecord files on a local disk, by the offsets of their records and pread.

A record is its length (8 bytes, little-endian), a checksum (4 bytes), the data, and a checksum (4 bytes).
"""

from collections.abc import Sequence
import os
import struct
from typing import Any

import numpy as np

from barlow_jax.errors import UserError


class TFRecords:
    """The records of a split, by their index."""

    def __init__(self, instructions: Sequence[Any]):
        """Scan the files of TFDS's `file_instructions` (filename, skip, take) for their records' offsets.

        Raises:
          UserError: a file is not on a local disk.
        """
        self._files, spans = [], []
        for number, instruction in enumerate(instructions):
            path = os.fspath(instruction.filename)
            if not os.path.exists(path):
                raise UserError(
                    f"{path} is missing on this host; TFRecords are read from a local disk: copy them there"
                )
            self._files.append(os.open(path, os.O_RDONLY))
            end = None if instruction.take == -1 else instruction.skip + instruction.take
            spans += [(number, *span) for span in _spans(self._files[-1])[instruction.skip : end]]
        self._spans = np.array(spans, np.int64).reshape(-1, 3)

    def __len__(self) -> int:
        return len(self._spans)

    def read(self, indices: Sequence[int]) -> list[bytes]:
        """Read records by their indices."""
        spans = self._spans[np.asarray(indices)]
        return [os.pread(self._files[number], length, offset) for number, offset, length in spans.tolist()]


def _spans(file: int) -> list[tuple[int, int]]:
    """Return (offset, length) of the data of each record of a file."""
    spans, offset, end = [], 0, os.fstat(file).st_size
    while offset < end:
        (length,) = struct.unpack("<Q", os.pread(file, 8, offset))
        spans.append((offset + 12, length))
        offset += length + 16
    return spans
