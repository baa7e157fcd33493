"""Tables with a row per image: .csv, .parquet, or .txt with a path per line. They may hold the classes."""

from collections.abc import Iterable, Sequence
import csv
import os
from typing import Any
import unicodedata

from barlow_jax.data import folders
from barlow_jax.errors import UserError


def read(path: str) -> dict[str, list[Any]]:
    """Return the columns of a table; `path` is among them.

    Raises:
      UserError: the file cannot be read, or its paths are missing.
    """
    try:
        if path.lower().endswith(".parquet"):
            from pyarrow import parquet

            columns = parquet.read_table(path).to_pydict()
        else:
            columns = _read_text(path)
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as a table ({error})") from None
    paths = columns.get("path")
    if not paths:
        found = f"has no column path, but {', '.join(columns)}" if paths is None else "is empty"
        raise UserError(f"{path} {found}; a table needs a row per image, with its path")
    if wrong := [number for number, name in enumerate(paths, 1) if not isinstance(name, str) or not name]:
        raise UserError(f"{path}: the path of image {wrong[0]} is {paths[wrong[0] - 1]!r}; it must be text")
    return columns


def _read_text(path: str) -> dict[str, list[str]]:
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:  # as names of files
        lines = list(file)
    if path.lower().endswith(".txt"):
        return {"path": [line.rstrip("\r\n") for line in lines if line.strip()]}
    delimiter = max(",;\t", key=(lines or [""])[0].count)
    header, *rows = filter(None, csv.reader(lines, delimiter=delimiter, strict=True))
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise ValueError(f"row {number} has {len(row)} values, but the header {len(header)}")
    return {name.strip(): [row[column] for row in rows] for column, name in enumerate(header)}


def align(path: str, source: str, names: Sequence[str]) -> tuple[dict[str, list[Any]], str]:
    """Return the columns of a table in the order of images, None where it has no row, and a note on the rest.

    A row belongs to an image by its path, relative to `source` or to the table, or else by its file name, or
    by that without its suffix: in the way that matches most.

    Raises:
      UserError: the table cannot be read, or no row belongs to an image.
    """
    columns, row_of = read(path), {}
    paths, folder = columns.pop("path"), os.path.dirname(path)
    root = source if os.path.isdir(source) else os.path.dirname(source)

    def from_table(name: str) -> str:
        return os.path.relpath(os.path.join(folder, name), root)

    whole = os.path.normpath
    for key, row_key in ((whole, whole), (whole, from_table), (os.path.basename,) * 2, (_stem,) * 2):
        row_of = max(row_of, _match(map(key, names), map(row_key, paths)), key=len)
        if len(row_of) == min(len(names), len(paths)):
            break
    unused = {*range(len(paths))} - {*row_of.values()}
    example = folders.printable(paths[min(unused, default=0)])
    if not row_of:
        name = folders.printable(names[0])
        raise UserError(f"{path}: no path is that of an image; paths are such as {example}, images {name}")
    note = f"; {path} has rows for {len(row_of)} of all {len(names)} images"
    note += f"; {len(unused)} rows match no image, or several ({example})" if unused else ""
    rows = [row_of.get(image) for image in range(len(names))]
    return {k: [None if row is None else column[row] for row in rows] for k, column in columns.items()}, note


def _match(names: Iterable[str], paths: Iterable[str]) -> dict[int, int]:
    """Return the row of each image where a name and a path are the same, and both occur once."""
    image_of, row_of = _positions(names), _positions(paths)
    pairs = ((image, row_of.get(name)) for name, image in image_of.items())
    return {image: row for image, row in pairs if image is not None and row is not None}


def _positions(texts: Iterable[str]) -> dict[str, int | None]:
    """Return the position of each text, None if it has several."""
    positions: dict[str, int | None] = {}
    for position, text in enumerate(unicodedata.normalize("NFC", text) for text in texts):
        positions[text] = None if text in positions else position
    return positions


def _stem(path: str) -> str:
    stem, suffix = os.path.splitext(os.path.basename(path))
    return stem if suffix.lower() in folders.IMAGE_SUFFIXES else stem + suffix  # "plate.01" has none
