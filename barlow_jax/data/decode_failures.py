"""Images that cannot be decoded: counted, named, limited in number, and replaced. TensorFlow is not needed.

In training another image replaces the undecodable one, with its own label and index: the first readable one
of `SampleRange.replacements`. A grey image would be wrong with its label, and without variance an outlier in
the batch's statistics; the next image of the batch may belong to another process, and would occur twice in
the batch. In an evaluation the row is blank: zeros, and index -1.
"""

from collections.abc import Callable
import json
import threading
from typing import TypeVar

from barlow_jax.data.sampler import EvaluationRange, SampleRange
from barlow_jax.errors import UserError
from barlow_jax.io import jsonl, log
from barlow_jax.io.jsonl import AppendOnlyFile
from barlow_jax.io.paths import Path

MAX_NAMED = 10  # in the log, and in the error
T = TypeVar("T")


class DecodeFailures:
    """The undecodable images of one split that this process has read; each counts once.

    Every process counts and names its own.
    """

    def __init__(self, name: Callable[[int], str]):
        """Start with none; `name` returns a name by which a person finds the image of an index."""
        self.name = name
        self._descriptions: dict[int, str] = {}  # by index, in the order of reading
        self._first_step: dict[int, int] = {}  # of training, by index
        self._file: AppendOnlyFile | None = None
        self._lock = threading.Lock()  # training and its k-NN monitor read at the same time

    def __len__(self) -> int:
        return len(self._descriptions)

    def write_to(self, path: Path, first_step: int) -> None:
        """Append every further image that training reads to a file of JSON lines.

        A line is `{"step": ..., "index": ..., "image": ...}`, with the first step that read the image.
        Existing lines of steps from `first_step` on are removed: the run resumes before them. The others
        count as read.

        Raises:
          OSError: the file cannot be written.
        """
        rows = jsonl.reopen(path, lambda row: row["step"] < first_step)
        with self._lock:
            self._first_step |= {row["index"]: row["step"] for row in rows}
            self._file = jsonl.open_append(path)

    def flush(self) -> None:
        """Make sure that a killed process leaves all lines; see `AppendOnlyFile.flush`."""
        with self._lock:
            if self._file:
                self._file.flush()

    def close(self) -> None:
        """Write what is pending, and close the file."""
        with self._lock:
            if self._file:
                self._file.close()

    def count_before(self, step: int) -> int:
        """Return the number of images that training read before `step`, whatever the prefetching has read."""
        with self._lock:
            return sum(first < step for first in self._first_step.values())

    def add(self, index: int, reason: str, *, step: int | None, limit: int | None) -> None:
        """Count an image by its index in the split, and name it in the log if it is one of the first.

        The reason is a predicate (`image_formats.failure_reason`); the step is that of training, None in an
        evaluation.

        Raises:
          UserError: more than `limit` images cannot be decoded.
        """
        with self._lock:
            if index not in self._descriptions:
                self._descriptions[index] = f"{self.name(index)} {reason}"
                self._log_newest()
            if step is not None and index not in self._first_step:
                self._first_step[index] = step
                if self._file:
                    row = {"step": step, "index": index, "image": self._descriptions[index]}
                    self._file.append(json.dumps(row))
            if limit is not None and len(self) > limit:
                first = "".join(f"\n  {text}" for text in list(self._descriptions.values())[:MAX_NAMED])
                raise UserError(
                    f"config.data.max_decode_failures: this process cannot decode {len(self)} images, and "
                    f"{limit} are allowed; repair or remove them, or raise the limit (none = no limit), and "
                    f"run the command again (pretrain resumes). The first of them:{first}"
                )

    def _log_newest(self) -> None:
        if len(self) <= MAX_NAMED:
            description = list(self._descriptions.values())[-1]
            log.warning(f"decode failure {len(self)}: {description}", every_process=True)
        if len(self) == MAX_NAMED:
            log.warning("further decode failures are counted, but not named here", every_process=True)


def find_readable(
    step_range: SampleRange | EvaluationRange,
    step: int,
    row: int,
    read: Callable[[int], tuple[T, str | None]],
    failures: DecodeFailures,
    limit: int | None,
) -> tuple[T, int] | None:
    """Return the example to make a row of a step's batch from, and its index; None for a blank row.

    `read` returns the example of an index, and the reason if it cannot be decoded, otherwise None.

    Raises:
      UserError: more images than the limit cannot be decoded, or none of the replacements can.
    """
    index, extra = (int(values[row]) for values in step_range.batch(step))
    example, reason = read(index)
    if reason is None:
        return example, index
    if isinstance(step_range, EvaluationRange):
        if extra:  # a real row
            failures.add(index, reason, step=None, limit=limit)
        return None
    failures.add(index, reason, step=step, limit=limit)
    replacements = step_range.replacements(extra).tolist()
    for replacement in replacements:
        example, reason = read(replacement)
        if reason is None:
            return example, replacement
    raise UserError(
        f"none of {len(replacements)} images sampled from the split can be decoded; "
        f"{failures.name(replacement)} {reason}"
    )
