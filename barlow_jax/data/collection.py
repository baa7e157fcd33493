"""Collections: the images of one split of any source, before anything is decoded. TensorFlow is not needed.

The images of a split are ordered by a hash of their names, a fixed random order, and `held_out` is the
beginning of that order: images that are added move no other one.
"""

from collections.abc import Callable, Iterator, Sequence
import dataclasses
import hashlib
import os

import numpy as np

from barlow_jax.config import schema as config_lib
from barlow_jax.data import folders, slices
from barlow_jax.data.image_sources import files
from barlow_jax.data.image_sources.source import Source
from barlow_jax.errors import UserError

TRAIN, HELD_OUT = "train", "held_out"


@dataclasses.dataclass(frozen=True)
class Collection:
    """N images in order, with their labels."""

    names: Sequence[str]  # [N] unique, relative to the source; undecodable bytes are surrogates
    read: Callable[[int], bytes | np.ndarray]  # content of a file, or pixels [h, w] or [h, w, C]; OSError
    labels: np.ndarray | None  # [N] int32; -1 = none
    class_names: Sequence[str] | None
    description: str  # one line: what is read, what is left out
    sizes: Sequence[int]  # [N] bytes, or another number that changes with the content
    path: Callable[[int], str | None] = lambda index: None  # of an image that is a local file

    def identity(self) -> Iterator[bytes]:
        """Implement `Split.identity`: name and size of each image."""
        for name, size in zip(self.names, self.sizes, strict=True):
            yield b"%s %d" % (os.fsencode(name), size)


def open_collection(data: config_lib.Data, split: str) -> Collection:
    """Open a split, or a part of one, of the source at `data.data_dir`.

    Raises:
      UserError: the source, the split or the labels cannot be read; the message names the remedy.
    """
    source, rows = _open(data.data_dir), []
    by_split = _split_rows(data, source)
    for part in slices.parse(split, by_split.__contains__):
        if part.name not in by_split:
            raise UserError(
                f"config.data: {data.data_dir} has no split {part.name!r}; it has "
                f"{', '.join(by_split)}; {slices.HINT}"
            )
        rows += by_split[part.name][part.rows(len(by_split[part.name]))]
    return _select(source, rows)


def open_all(path: str, data: config_lib.Data) -> Collection:
    """Open all images of a source in its order, whatever their splits."""
    source = _open(path)
    return _select(source, range(len(source.names)))


def split_names(data: config_lib.Data) -> dict[str, int]:
    """Return the number of images of each split that exists."""
    return {name: len(rows) for name, rows in _split_rows(data, _open(data.data_dir)).items()}


def count_images(data: config_lib.Data, split: str) -> int:
    """Return the number of images of a split expression."""
    return len(open_collection(data, split).names)


def _open(path: str | None) -> Source:
    if not path:
        raise UserError("config.data.data_dir: images need the path of a folder or file")
    return files.open_folder(path)


def _split_rows(data: config_lib.Data, source: Source) -> dict[str, list[int]]:
    def position(row: int) -> bytes:
        return hashlib.blake2b(os.fsencode(source.names[row]), digest_size=8).digest()

    order = sorted(range(len(source.names)), key=position)
    limit = int(data.held_out * 2**64).to_bytes(8)
    below, least = sum(position(row) < limit for row in order), min(2, len(order) // 2)
    held_out = min(max(below, least), len(order) - least)
    return {TRAIN: order[held_out:], HELD_OUT: order[:held_out]}


def _select(source: Source, rows: Sequence[int]) -> Collection:
    return Collection(
        [source.names[row] for row in rows],
        lambda index: source.read(rows[index]),
        None,
        None,
        f"{len(rows)} images{folders.counts(source.left_out, '; left out: ', '{count} {reason} ({example})')}",
        [source.sizes[row] for row in rows],
        lambda index: source.path(rows[index]),
    )
