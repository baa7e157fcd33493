"""Tiles of large images: `config.data.tile` pixels a side, overlapping by `config.data.tile_overlap`."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
import math
import mmap
import os
import shutil
import tempfile
import threading

import numpy as np

from barlow_jax.config.schema import Data
from barlow_jax.data.collection import Collection
from barlow_jax.data.image_stats import header
from barlow_jax.data.pixel_arrays import DecodeError
from barlow_jax.io import processors


def list_tiles(collection: Collection, data: Data) -> np.ndarray:
    """Return `[N, 3]` int64 image, row and column of the top left corner of each tile, in order.

    An image that is no larger than a tile is one tile, and so is one whose header cannot be read. Headers of
    10 000 files take 4 s; a file in a shard is read as a whole.
    """
    if not data.tile:
        return np.pad(np.arange(len(collection.names))[:, None], ((0, 0), (0, 2)))

    def corners(index: int) -> list[tuple[int, int, int]]:
        try:
            height, width = header(collection, index, follow_exif=data.follow_exif)[:2]
        except (DecodeError, OSError):  # reported when the image is used
            return [(index, 0, 0)]
        step = data.tile - data.tile_overlap
        rows, columns = (_starts(length, data.tile, step) for length in (height, width))
        return [(index, row, column) for row in rows for column in columns]

    with ThreadPoolExecutor(data.threads or processors.available()) as pool:
        parts = pool.map(corners, range(len(collection.names)))
        return np.array([corner for part in parts for corner in part], np.int64).reshape(-1, 3)


def _starts(length: int, tile: int, step: int) -> list[int]:
    """Return the first pixel of each tile along a line; the last tile ends at the end of the line.

    >>> _starts(100, 40, 30)
    [0, 30, 60]
    >>> _starts(101, 40, 30)
    [0, 30, 60, 61]
    """
    return [*range(0, max(length - tile, 0), step), max(length - tile, 0)]


class DecodedImages:
    """Decoded images in a temporary file without a name, so that each is decoded once for all of its tiles.

    Threads that ask for the same image wait for one decoder. The file takes at most half of the free disk;
    images beyond that are decoded for each tile.
    """

    def __init__(self, decode: Callable[[int], np.ndarray]):
        """Keep no image yet; `decode` returns the pixels of the image with an index."""
        self._decode, self._lock = decode, threading.Lock()
        self._file, self._end = tempfile.TemporaryFile(), 0  # noqa: SIM115  deleted with this object
        self._max_bytes = shutil.disk_usage(tempfile.gettempdir()).free // 2
        self._kept: dict[int, Future] = {}  # of (offset in the file, shape, type); None if it is not kept

    def __call__(self, index: int) -> np.ndarray:
        """Return the pixels of an image, of which only those that are used are read from the file."""
        with self._lock:
            is_new = index not in self._kept
            kept = self._kept.setdefault(index, Future())
        if is_new:
            try:
                kept.set_result(self._keep(self._decode(index)))
            except Exception as error:
                kept.set_exception(error)
        if kept.result() is None:
            return self._decode(index)
        offset, shape, dtype = kept.result()
        size = math.prod(shape) * dtype.itemsize
        pixels = mmap.mmap(self._file.fileno(), size, access=mmap.ACCESS_READ, offset=offset)
        return np.frombuffer(pixels, dtype).reshape(shape)

    def _keep(self, pixels: np.ndarray) -> tuple[int, tuple[int, ...], np.dtype] | None:
        with self._lock:
            if self._end + pixels.nbytes > self._max_bytes:
                return None
            offset = self._end
            self._end += -(-pixels.nbytes // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        content, written = memoryview(pixels).cast("B"), 0
        while written < pixels.nbytes:  # 2 GiB at most per call
            written += os.pwrite(self._file.fileno(), content[written:], offset + written)
        return offset, pixels.shape, pixels.dtype
