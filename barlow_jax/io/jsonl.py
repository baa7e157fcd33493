"""Append-only JSON-lines files that tolerate a full or temporarily missing disk."""

from collections.abc import Callable
import json
import os
import pathlib
from typing import Any

from barlow_jax.io import files, log


def read(path: pathlib.Path) -> tuple[list[dict[str, Any]], int]:
    """Return the rows of a file, and the number of lines that are not rows, such as one being written.

    The file is not changed. A missing file has no rows.

    Raises:
      OSError: the file exists and cannot be read.
    """
    try:
        lines = path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return [], 0
    rows = [row for line in lines if (row := _row(line)) is not None]
    return rows, len(lines) - len(rows)


def reopen(path: pathlib.Path, keep: Callable[[Any], bool]) -> list[Any]:
    """Remove from a file incomplete lines and rows that are not to be kept; return the rows that remain.

    Raises:
      OSError: the file cannot be read or rewritten.
    """
    rows, num_damaged = read(path)
    kept = [row for row in rows if keep(row)]
    if num_damaged or len(kept) < len(rows):
        files.write_text(path, "".join(f"{json.dumps(row)}\n" for row in kept))
    return kept


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


class AppendOnlyFile:
    """File of lines that are written at once; after a failure they wait in memory for the next append."""

    def __init__(self, path: pathlib.Path):
        """Append to the file at `path`, which need not exist."""
        self._path = path
        self._valid_bytes = path.stat().st_size if path.exists() else 0  # all of them complete lines
        self._pending: list[str] = []

    def append(self, line: str) -> None:
        """Append a line, given without its newline. The first of several failures logs a warning."""
        self._pending.append(line)
        try:
            self._write()
        except OSError as error:
            if len(self._pending) == 1:
                reason = error.strerror or error
                log.warning(
                    f"{self._path} cannot be written ({reason}); its lines are kept in memory",
                    every_process=True,
                )
        else:
            if len(self._pending) > 1:
                message = f"{self._path} can be written again; wrote {len(self._pending)} pending lines"
                log.info(message, every_process=True)
            self._pending.clear()

    def _write(self) -> None:
        data = "".join(f"{line}\n" for line in self._pending).encode()
        with self._path.open("ab") as file:
            # Bytes after the last complete line come from an interrupted write. A shorter file was replaced.
            end = min(self._valid_bytes, file.seek(0, os.SEEK_END))
            file.truncate(end)
            file.write(data)
        self._valid_bytes = end + len(data)

    def close(self) -> None:
        """Try once more to write the pending lines; log a warning if they are lost."""
        if not self._pending:
            return
        try:
            self._write()
        except OSError as error:
            reason = error.strerror or error
            log.warning(f"{len(self._pending)} lines of {self._path} are lost ({reason})", every_process=True)
        self._pending.clear()
