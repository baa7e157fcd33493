"""Append-only JSON-lines files that tolerate a full or temporarily missing disk or bucket."""

from collections.abc import Callable
import contextlib
import json
import os
import threading
from typing import Any
import zlib

from barlow_jax.io import files, log, paths
from barlow_jax.io.background import Background
from barlow_jax.io.paths import Path

_INTERVAL_S = 10.0  # between the parts of a file in a bucket
_MAX_PARTS = 100  # until they are merged, since a reader fetches each
_CLOSE_S = 60.0


def read(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the rows of a file, and the number of lines that are not rows, such as one being written.

    The file is not changed. A missing file has no rows.

    Raises:
      OSError: the file exists and cannot be read.
    """
    lines = (_read_parts(path) if paths.is_url(path) else _read_text(path)).splitlines()
    rows = [row for line in lines if (row := _row(line)) is not None]
    return rows, len(lines) - len(rows)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""


def reopen(path: Path, keep: Callable[[Any], bool]) -> list[Any]:
    """Remove from a file incomplete lines and rows that are not to be kept; return the rows that remain.

    Raises:
      OSError: the file cannot be read or rewritten.
    """
    rows, num_damaged = read(path)
    kept = [row for row in rows if keep(row)]
    if num_damaged or len(kept) < len(rows):
        old, new = _read_text(path), "".join(f"{json.dumps(row)}\n" for row in kept)
        _remove_parts(path, other_than=old)  # before the new text, which may be one that they continue
        if new != old:
            files.write_text(path, new)
        _remove_parts(path)
    return kept


def open_append(path: Path) -> "AppendOnlyFile":
    """Open a file for lines to be appended; it need not exist."""
    return _BucketFile(path) if paths.is_url(path) else AppendOnlyFile(path)


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


class AppendOnlyFile:
    """File of lines that are written at once; after a failure they wait in memory for the next append."""

    def __init__(self, path: Path):
        """Append to the file at `path`, which need not exist."""
        self._path = path
        self._valid_bytes = path.stat().st_size if path.exists() else 0  # all of them complete lines
        self._pending: list[str] = []
        self._failure = ""  # reason of the last write, if it failed

    def append(self, line: str) -> None:
        """Append a line, given without its newline. The first of several failures logs a warning."""
        self._pending.append(line)
        self._flush()

    def _flush(self) -> None:
        num_lines = len(self._pending)
        try:
            self._write("".join(f"{line}\n" for line in self._pending[:num_lines]).encode())
        except OSError as error:
            is_first, self._failure = not self._failure, str(error.strerror or error)
            if is_first:
                message = f"{self._path} cannot be written ({self._failure}); its lines are kept in memory"
                log.warning(message, every_process=True)
        else:
            if self._failure:
                message = f"{self._path} can be written again; wrote {num_lines} pending lines"
                log.info(message, every_process=True)
            self._failure = ""
            del self._pending[:num_lines]

    def _write(self, data: bytes) -> None:
        with self._path.open("ab") as file:
            # Bytes after the last complete line come from an interrupted write. A shorter file was replaced.
            end = min(self._valid_bytes, file.seek(0, os.SEEK_END))
            file.truncate(end)
            file.write(data)
        self._valid_bytes = end + len(data)

    def flush(self) -> None:
        """Make sure that the lines are where a killed process leaves them; on a disk they are, or cannot be.

        Raises:
          OSError: a bucket cannot be written.
        """

    def close(self) -> None:
        """Try once more to write the pending lines; log a warning if they are lost."""
        if self._pending:
            self._flush()
        if self._pending:
            message = f"{len(self._pending)} lines of {self._path} are lost ({self._failure})"
            log.warning(message, every_process=True)
        self._pending.clear()


class _BucketFile(AppendOnlyFile):
    """File of a bucket, to which nothing can be appended: new lines become parts, which are merged later.

    The parts are objects `PATH.parts/DIGEST-NUMBER`, where DIGEST is that of the text that they continue:
    after a merge, parts that could not be removed continue nothing.
    """

    def __init__(self, path: Path):
        """Merge the parts that a killed process has left."""
        self._path, self._pending, self._failure = path, [], ""
        self._merged, self._unmerged, self._num_parts = _read_text(path), "", 0
        self._lock = threading.Lock()  # held by the thread that writes
        if (text := _read_parts(path)) != self._merged:
            self._unmerged = text.removeprefix(self._merged)
            self._merge()
        _remove_parts(path)
        self._background = Background(self._flush, _INTERVAL_S)

    def append(self, line: str) -> None:
        """Append a line, given without its newline, in the background."""
        self._pending.append(line)
        self._background.request()

    def flush(self) -> None:
        """Write the pending lines now."""
        self._flush()
        if self._failure:
            raise OSError(self._failure)

    def _flush(self) -> None:
        with self._lock:
            super()._flush()

    def _write(self, data: bytes) -> None:
        if not data:
            return
        files.write_bytes(_parts(self._path) / f"{_digest(self._merged)}-{self._num_parts:06d}", data)
        self._unmerged += data.decode()
        self._num_parts += 1
        if self._num_parts >= _MAX_PARTS:
            with contextlib.suppress(OSError):  # the part is written; the next one tries again
                self._merge()

    def _merge(self) -> None:
        files.write_text(self._path, self._merged + self._unmerged)
        self._merged, self._unmerged, self._num_parts = self._merged + self._unmerged, "", 0
        _remove_parts(self._path)

    def close(self) -> None:
        """Write the pending lines, and merge the parts."""
        self._background.close(_CLOSE_S)
        super().close()
        if self._num_parts:
            with contextlib.suppress(OSError):  # the parts are read as well
                self._merge()


def _parts(path: Path) -> Path:
    return path.with_name(f"{path.name}.parts")


def _digest(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def _read_parts(path: Path) -> str:
    """Return the text of a file in a bucket with that of its parts."""
    while True:
        text = _read_text(path)
        names = sorted(str(part.path) for part in _parts(path).glob(f"{_digest(text)}-*"))
        contents = path.fs.cat(names, on_error="omit") if names else {}
        if _read_text(path) == text:  # else they were merged meanwhile
            return text + b"".join(contents[name] for name in names if name in contents).decode()


def _remove_parts(path: Path, other_than: str | None = None) -> None:
    """Remove the parts, except those that continue a text."""
    if not paths.is_url(path):
        return
    for part in _parts(path).glob("*"):
        if other_than is None or not part.name.startswith(_digest(other_than)):
            part.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a file, if it exists."""
    path.unlink(missing_ok=True)
    _remove_parts(path)
