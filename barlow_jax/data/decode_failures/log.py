"""The images of a split that cannot be decoded: counted, named, and too many of them an error."""

from collections.abc import Callable
import json
import pathlib
import sys
import threading

import tqdm

from barlow_jax.errors import UserError
from barlow_jax.io import jsonl
from barlow_jax.io.jsonl import AppendOnlyFile

SHOWN = 10  # that are named in the log, and in the error
# What a file begins with, of the kinds of files that are met under an image's name.
_KINDS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"RIFF": "WebP",
}
_FOREIGN = {b"II*\0": "TIFF", b"MM\0*": "TIFF", b"8BPS": "Photoshop", b"%PDF": "PDF", b"<svg": "SVG"}


class DecodeFailures:
    """Of one split, of this process alone: in a pod every process meets, counts and names its own.

    The count is of images, not of times that one was met.
    """

    def __init__(self, name: Callable[[int], str]):
        """`name` says of an index into the split what a person finds the image by."""
        self.name = name
        self._words: dict[int, str] = {}  # by index, in the order in which they were met
        self._first_step: dict[int, int] = {}  # of training, by index
        self._journal: AppendOnlyFile | None = None
        self._lock = threading.Lock()  # training and its k-NN monitor read at the same time

    def __len__(self) -> int:
        return len(self._words)

    def keep(self, path: pathlib.Path, first_step: int) -> None:
        """From now on each one that training meets is a line of the file, `{"step": ..., "index": ..., "image": ...}`.

        A line is of the first step that met it. Those of steps from `first_step` on are of a run that was cut off,
        and are dropped; the others were met.

        Raises:
          OSError: the file cannot be written.
        """
        rows = jsonl.reopen(path, lambda row: row["step"] < first_step)
        with self._lock:
            self._first_step |= {row["index"]: row["step"] for row in rows}
            self._journal = AppendOnlyFile(path)

    def met_before(self, step: int) -> int:
        """How many the training met in the steps before `step`: batches that are made ahead do not count."""
        with self._lock:
            return sum(first < step for first in self._first_step.values())

    def add(self, index: int, why: str, *, step: int | None, most: int | None) -> None:
        """Counts an image, and names it in the log if it is one of the first.

        Args:
          index: into the split.
          why: as `reason` says it.
          step: of training; None in an evaluation.
          most: `config.data.max_decode_failures`.

        Raises:
          UserError: there are more than `most`.
        """
        with self._lock:
            if index not in self._words:
                self._words[index] = f"{self.name(index)} {why}"
                self._say()
            if step is not None and index not in self._first_step:
                self._first_step[index] = step
                if self._journal:
                    row = {"step": step, "index": index, "image": self._words[index]}
                    self._journal.append(json.dumps(row))
            if most is not None and len(self._words) > most:
                raise UserError(self._too_many(most))

    def _say(self) -> None:
        number = len(self._words)
        if number <= SHOWN:
            tqdm.tqdm.write(f"broken image {number}: {list(self._words.values())[-1]}", file=sys.stderr)
        if number == SHOWN:
            tqdm.tqdm.write("broken images from here on are not named here", file=sys.stderr)

    def _too_many(self, most: int) -> str:
        named = "".join(f"\n  {words}" for words in list(self._words.values())[:SHOWN])
        return (
            f"config.data.max_decode_failures: this process met {len(self._words)} images that cannot be decoded, and "
            f"{most} are allowed; repair or remove them, or allow more (none: any number) and run the same "
            f"command again (pretrain goes on from its newest checkpoint). The first ones:{named}"
        )


def reason(encoded: bytes) -> str:
    """Why an image that TensorFlow refused cannot be decoded, told from how its bytes begin."""
    if not encoded:
        return "is empty"
    for kinds, words in (
        (_KINDS, "is a truncated or damaged {}"),
        (_FOREIGN, "is a {} file, which is not read"),
    ):
        for start, kind in kinds.items():
            if encoded.startswith(start):
                return words.format(kind)
    return f"is no image: it begins with {encoded[:20]!r}"
