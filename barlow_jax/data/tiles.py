"""Tiles of large images: `config.data.tile` pixels a side, overlapping by `config.data.tile_overlap`."""

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
import os
import threading

import numpy as np

from barlow_jax.config.schema import Data
from barlow_jax.data.collection import Collection
from barlow_jax.data.image_stats import header
from barlow_jax.data.pixel_arrays import DecodeError

_CACHE_BYTES = 2**30


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

    with ThreadPoolExecutor(data.threads or os.cpu_count()) as pool:
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
    """Recently decoded images, up to 1 GiB: the tiles of an image that are read one after another share it.

    Threads that ask for the same image wait for one decoder.
    """

    def __init__(self, decode: Callable[[int], np.ndarray]):
        """Create an empty cache; `decode` returns the pixels of the image with an index."""
        self._decode, self._lock = decode, threading.Lock()
        self._images: OrderedDict[int, Future] = OrderedDict()

    def __call__(self, index: int) -> np.ndarray:
        """Return the pixels of an image, or raise what `decode` raises."""
        with self._lock:
            is_new = index not in self._images
            image = self._images.setdefault(index, Future())
            self._images.move_to_end(index)
        if is_new:
            try:
                image.set_result(self._decode(index))
            except Exception as error:
                image.set_exception(error)
            with self._lock:
                while len(self._images) > 1 and sum(map(_num_bytes, self._images.values())) > _CACHE_BYTES:
                    self._images.popitem(last=False)
        return image.result()


def _num_bytes(image: Future) -> int:
    return image.result().nbytes if image.done() and not image.exception() else 0
