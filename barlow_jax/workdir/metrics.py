"""Where metrics go: `metrics.jsonl`, TensorBoard, and one line for the person who watches."""

from collections.abc import Callable
import json
import math
import pathlib
import sys
from typing import Any

import jax
import tqdm

from barlow_jax.io import jsonl
from barlow_jax.io.jsonl import AppendOnlyFile


class MetricsWriter:
    """Appends rows `{"step": ..., name: number}`, null for what is not finite; files are process 0's alone.

    Files that cannot be written do not stop a run.

    `latest` holds the newest value of every name, `there` the names that the rows of `first_step` have.
    """

    def __init__(self, workdir: pathlib.Path, *, first_step: int):
        """Rows after `first_step` are those of a run that was cut off, and are dropped."""
        self.latest: dict[str, float | None] = {}
        self.there: set[str] = set()
        self._active = jax.process_index() == 0
        if not self._active:
            return
        path = workdir / "metrics.jsonl"
        for row in jsonl.reopen(path, lambda row: row["step"] <= first_step):
            self.there |= row.keys() if row["step"] == first_step else set()
            self.latest |= row
        self._jsonl = AppendOnlyFile(path)
        self._tensorboard, self._warned = _open_tensorboard(workdir / "tensorboard"), False

    def write(self, step: int, row: dict[str, float]) -> None:
        row = {name: value if math.isfinite(value) else None for name, value in row.items()}
        self.latest |= row
        if not self._active:
            return
        self._jsonl.append(json.dumps({"step": step, **row}))
        if self._tensorboard:
            finite = {name: value for name, value in row.items() if value is not None}
            self._try(lambda: self._tensorboard.write_scalars(step, finite))

    def _try(self, write: Callable[[], None]) -> None:
        """TensorFlow raises errors of its own, and keeps what it could not write for the next time."""
        try:
            write()
        except Exception as error:
            if not self._warned:
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                tqdm.tqdm.write(
                    f"WARNING: events for TensorBoard cannot be written ({reason}), and some may be lost; "
                    "metrics.jsonl has every number",
                    file=sys.stderr,
                )
            self._warned = True

    def close(self) -> None:
        if self._active:
            self._jsonl.close()
            if self._tensorboard:
                self._try(self._tensorboard.close)


def _open_tensorboard(folder: pathlib.Path) -> Any:
    """None, with a word to the person, where TensorFlow is not installed."""
    try:
        from clu import metric_writers  # imports TensorFlow
    except ImportError as error:
        print(f"no events for TensorBoard ({error}); metrics.jsonl has every number", file=sys.stderr)
        return None
    return metric_writers.SummaryWriter(str(folder))
