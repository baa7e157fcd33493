"""A file of lines that outlives a disk that is full or away for a while."""

from collections.abc import Callable
import json
import os
import pathlib
import sys
from typing import Any

import tqdm

from barlow_jax.io import files


def reopened(path: pathlib.Path, keep: Callable[[Any], bool]) -> list[Any]:
    """The rows of a file of JSON lines that are to be kept; the others, and what a kill cut off, are gone from it.

    Raises:
      OSError: it cannot be rewritten.
    """
    lines = path.read_text().splitlines() if path.exists() else []
    kept = [(line, row) for line in lines if (row := _row(line)) is not None and keep(row)]
    if len(kept) < len(lines):
        files.write_text(path, "".join(f"{line}\n" for line, _ in kept))
    return [row for _, row in kept]


def read(path: pathlib.Path) -> tuple[list[dict[str, Any]], int]:
    """The rows of such a file, and how many of its lines are none, as the last one while it is written; it stays as
    it is. There are none where there is no file.

    Raises:
      OSError: it is there, and cannot be read.
    """
    try:
        lines = path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return [], 0
    rows = [row for line in lines if (row := _row(line)) is not None]
    return rows, len(lines) - len(rows)


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


class Journal:
    """Appends lines, each at once. Those that cannot be written wait in memory, and go with the next that can."""

    def __init__(self, path: pathlib.Path):
        self._path = path
        self._whole = path.stat().st_size if path.exists() else 0  # bytes that are known to be whole lines
        self._waiting: list[str] = []

    def append(self, line: str) -> None:
        """Without its end of line. A failure is said at the first line that has to wait."""
        self._waiting.append(line)
        try:
            self._write()
        except OSError as error:
            if len(self._waiting) == 1:
                _say(
                    f"WARNING: {self._path} cannot be written ({error.strerror or error}): its lines are kept in memory"
                )
        else:
            if len(self._waiting) > 1:
                _say(f"{self._path} can be written again: {len(self._waiting)} lines that waited are in it")
            self._waiting.clear()

    def _write(self) -> None:
        data = "".join(f"{line}\n" for line in self._waiting).encode()
        with self._path.open("ab") as file:
            # What is behind the last whole line is of a write that broke off. A file that is shorter is another one.
            end = min(self._whole, file.seek(0, os.SEEK_END))
            file.truncate(end)
            file.write(data)
        self._whole = end + len(data)

    def close(self) -> None:
        """Tries once more; says what is lost."""
        if not self._waiting:
            return
        try:
            self._write()
        except OSError as error:
            reason = error.strerror or error
            _say(f"WARNING: {len(self._waiting)} lines of {self._path} are lost ({reason})")
        self._waiting.clear()


def _say(words: str) -> None:
    tqdm.tqdm.write(words, file=sys.stderr)
