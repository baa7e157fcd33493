"""Collections: the images of one split of any source, before anything is decoded. TensorFlow is not needed.

The images of a split are ordered by a hash of their names, a fixed random order, except for arrays that are
ordered. The split `held_out` is the beginning of the order of all images, so that images that are added do
not move others.
"""

import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
import dataclasses
import functools
import hashlib
import itertools
import os
import re
from typing import Any, NamedTuple

import numpy as np

from barlow_jax.config import parts
from barlow_jax.config.schema import Data
from barlow_jax.data import folders, image_sources, sklearn_digits, slices, tables
from barlow_jax.data.image_sources import FOLDERS, SPLIT, Source
from barlow_jax.errors import UserError
from barlow_jax.io import paths

TRAIN, HELD_OUT = "train", "held_out"
_NO_LABEL = ("", "-1", "nan")


@dataclasses.dataclass(frozen=True)
class Collection:
    """N images in order, with their labels."""

    names: Sequence[str]  # [N] unique, relative to the source; bytes that are not UTF-8 are surrogates
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


class _Opened(NamedTuple):
    source: Source
    order: list[int]  # rows in the order of `_position`
    splits: list[str] | None  # [N]; None if the source has no splits of its own
    note: str  # on the table of labels
    labels: np.ndarray | None  # [N] int32
    class_names: list[str] | None


def open_collection(data: Data, split: str) -> Collection:
    """Open a split, or a part of one, of the digits or the source at `data.data_dir`; its content is logged.

    Raises:
      UserError: the source, the split or the labels cannot be read; the message names the remedy.
    """
    opened = _open("config.data", data.data_dir, data, split)
    subject = "" if data.name in sklearn_digits.NAMES else f"split {split} of {_describe(data)}"
    return _select(opened, _rows(opened, data, split), subject)


def open_all(path: str, data: Data) -> Collection:
    """Open all images of a source in its order, with the labels that it holds itself; log what is read."""
    opened = _open("--images", path, dataclasses.replace(data, labels=None, label_column=None, classes=()))
    return _select(opened, range(len(opened.source.names)), path)


def count_images(data: Data, split: str) -> int:
    """Return the number of images of a split expression."""
    return len(_rows(_open("config.data", data.data_dir, data, split), data, split))


def split_names(data: Data) -> dict[str, int]:
    """Return the number of images of each split."""
    by_split = _rows_by_split(_open("config.data", data.data_dir, data, data.train_split), data.held_out)
    return {name: len(rows) for name, rows in by_split.items()}


def _select(opened: _Opened, rows: Sequence[int], subject: str) -> Collection:
    source = opened.source
    names, sizes = [source.names[row] for row in rows], [source.sizes[row] for row in rows]
    closed = [name for name, size in zip(names, sizes, strict=True) if size < 0]
    listing = folders.Listing(names, dict(source.left_out), opened.class_names, closed)
    description = listing.log(subject, opened.note) if subject else ""
    labels = None if opened.labels is None else opened.labels[np.array(rows, int)]
    read, path = (lambda i: source.read(rows[i])), (lambda i: source.path(rows[i]))
    return Collection(names, read, labels, opened.class_names, description, sizes, path)


def _rows(opened: _Opened, data: Data, split: str) -> list[int]:
    rows, by_split = [], _rows_by_split(opened, data.held_out)
    for part in slices.parse(split, by_split.__contains__):
        if part.name not in by_split:
            found = f"{_describe(data)} has no split {part.name!r}; it has {', '.join(by_split)}"
            subfolders = sorted({*opened.source.columns.get(FOLDERS, ())} - {""})[:10]
            if subfolders and not opened.splits:
                found += " (folders are splits if train_split and eval_split name no others than "
                found += f"{folders.printable(', '.join(subfolders))})"
            raise UserError(f"config.data: {found}; {slices.HINT}")
        rows += by_split[part.name][part.rows(len(by_split[part.name]))]
    return rows


def _rows_by_split(opened: _Opened, held_out: float) -> dict[str, list[int]]:
    order, names = opened.order, opened.source.names
    if opened.splits:
        by_split: dict[str, list[int]] = {}
        for row in order:
            by_split.setdefault(opened.splits[row], []).append(row)
        return by_split
    below = bisect.bisect_left(order, held_out * 2**64, key=lambda row: _position(names[row]))
    least = min(2, len(order) // 2)  # in each split, for few images
    below = min(max(below, least), len(order) - least)
    return {TRAIN: order[below:], HELD_OUT: order[:below]}


def _position(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(os.fsencode(name), digest_size=8).digest())


def _describe(data: Data) -> str:
    return data.name if data.name in sklearn_digits.NAMES else folders.printable(data.data_dir)


def _open(key: str, path: str | None, data: Data, split: str | None = None) -> _Opened:
    """Open a source with the splits of the data and `split`; None: `path` is read without splits."""
    if data.name in sklearn_digits.NAMES and split:
        return _open_once(data.name, None, None, (), (), (), ())
    if not path:
        raise UserError(f"{key}.data_dir is none; set it to the folder or file of the images")
    path, labels = (_on_disk(key, source) for source in (path, data.labels))
    changed = tuple(os.path.getmtime(p) for p in (path, labels) if p and os.path.exists(p))
    in_use = _part_names(path, data.train_split, data.eval_split) if split else ()
    others = tuple(name for name in _part_names(path, split) if name not in in_use) if split else ()
    try:
        if parts.is_own("source", path):
            changed = (parts.find("source", path),)  # it may be registered again
        return _open_once(path, labels, data.label_column, data.classes, in_use, others, changed)
    except UserError as error:
        raise UserError(f"{key}: {error}") from None


def _on_disk(key: str, path: str | None) -> str | None:
    try:
        return path and paths.on_disk(path)
    except FileNotFoundError:
        raise UserError(f"{key}: {path} does not exist") from None
    except UserError as error:
        raise UserError(f"{key}: {error}") from None


def _part_names(path: str, *splits: str) -> tuple[str, ...]:
    parts = (slices.parse(split, lambda name: os.path.isdir(os.path.join(path, name))) for split in splits)
    return tuple(dict.fromkeys(part.name for part in itertools.chain(*parts)))


@functools.lru_cache(maxsize=4)  # a command opens several splits
def _open_once(
    path: str,
    labels: str | None,
    label_column: str | None,
    kept: tuple[str, ...],
    in_use: tuple[str, ...],
    others: tuple[str, ...],
    changed: tuple,
) -> _Opened:
    del changed  # tells versions of the files apart
    if path in sklearn_digits.NAMES:
        source = sklearn_digits.open_source(path)
    else:
        source = image_sources.open_source(path, label_column, (*in_use, *others))
    names, columns, note = source.names, source.columns, ""
    order = [*range(len(names))]
    if not source.is_ordered:
        order.sort(key=lambda row: _position(names[row]))
    if not names:
        description = folders.Listing([], dict(source.left_out)).describe(path)
        suffixes = ", ".join(folders.IMAGE_SUFFIXES)
        raise UserError(f"{description}; images end in {suffixes}; pass a table or an .npz by its own path")
    if max(source.sizes) < 0:
        raise UserError(f"no image of {path} can be opened, such as {folders.printable(names[0])}")
    if twice := [names[a] for a, b in itertools.pairwise(order) if names[a] == names[b]]:
        raise UserError(f"{path} has {folders.printable(twice[0])} twice; remove one of the two")
    if labels and labels != FOLDERS:
        columns, note = tables.align(labels, path, names)
    splits = [str(value or TRAIN) for value in columns.get(SPLIT, source.columns.get(SPLIT, ()))]
    is_split = len({*splits}) > 1 or source.is_ordered or {*splits} == {*in_use, *others}
    try:
        is_late = [labels == FOLDERS and split in others for split in splits] or [False] * len(names)
        classes = _classes(columns, labels, label_column, is_late)
    except UserError as error:
        if labels or label_column or kept:
            raise
        classes, note = (None, None), f"; without labels: {error}"  # nobody asked for them
    if kept:
        left_out = len(order)
        order, *classes = _keep(kept, order, *classes)
        note += f"; {left_out - len(order)} images of other classes, in all splits, are left out"
    return _Opened(source, order, splits if is_split else None, note, *classes)


def _keep(
    kept: tuple[str, ...], order: list[int], labels: np.ndarray | None, class_names: list[str] | None
) -> tuple[list[int], np.ndarray, list[str]]:
    """Return the rows of the classes that are kept, in order, `[N]` labels among these, and their names."""
    if labels is None or (missing := [name for name in kept if name not in class_names]):
        found = "the images have no labels" if labels is None else f"there is no class {missing[0]!r}"
        raise UserError(
            f"classes is {', '.join(kept)}, but {found}; set it to classes of the labels, or to ()"
        )
    names = [name for name in class_names if name in kept]
    new = np.array([names.index(name) if name in kept else -1 for name in class_names], np.int32)
    labels = np.where(labels >= 0, new[labels], -1).astype(np.int32)
    return [row for row in order if labels[row] >= 0], labels, names


def _classes(
    columns: Mapping[str, Sequence[Any]],
    labels: str | None,
    label_column: str | None,
    is_late: Sequence[bool],
) -> tuple[np.ndarray | None, list[str] | None]:
    """Return the class of each image and the sorted names of the classes; None without labels.

    Classes that only images `is_late` have follow, so that they do not move those of the splits in use.
    """
    existing = [name for name in columns if name not in (SPLIT, FOLDERS)]
    usual = [name for name in existing if name in ("label", "labels") or (labels and len(existing) == 1)]
    column = FOLDERS if labels == FOLDERS else label_column or next(iter(usual), None)
    if column is None and not labels:
        return None, None
    if column not in columns:
        key, source = ("labels", None) if column == FOLDERS else ("label_column", labels)
        remedy = f"{', '.join(existing)}; set label_column to one of them"
        remedy = remedy if existing else "none; set labels to a table with the columns path and label"
        raise UserError(
            f"{key} is {column or 'none'}, but the columns of {source or 'the source'} are {remedy}"
        )
    texts = [_label(value) for value in columns[column]]
    names = {*texts} - {*_NO_LABEL}
    if not names:
        raise UserError(
            f"no image has a label: {column} is empty for all {len(texts)} of them; without classes, set "
            "config.data.labels=none"
        )
    if column != FOLDERS and len(names) == sum(text in names for text in texts) > 2:
        raise UserError(
            f"each image has its own label in {column}, such as {min(names)}; use a column of classes"
        )
    are_numbers = all(re.fullmatch(r"-?\d+", name) for name in names)
    first = {text for text, late in zip(texts, is_late, strict=True) if not late}
    ordered = sorted(names, key=lambda name: (name not in first, int(name) if are_numbers else 0, name))
    class_of = {name: number for number, name in enumerate(ordered)}
    return np.array([class_of.get(text, -1) for text in texts], np.int32), [*map(folders.printable, ordered)]


def _label(value: Any) -> str:
    if isinstance(value, (list, dict)):
        raise UserError(f"an image has the labels {value}; use a column with one class per image")
    value = int(value) if isinstance(value, float) and value.is_integer() else value  # a column with gaps
    return "" if value is None else str(value).strip()
