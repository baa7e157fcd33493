"""A file of lines that outlives a disk that is full or away for a while."""

import os
import pathlib
import sys

import tqdm


class Journal:
    """Appends lines, each at once. Those that cannot be written wait in memory, and go with the next that can."""

    def __init__(self, path: pathlib.Path):
        """The file is made where it is not there.

        Raises:
          OSError: it cannot be.
        """
        self._path = path
        with path.open("ab") as file:
            self._whole = file.seek(0, os.SEEK_END)  # bytes that are known to be whole lines
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
