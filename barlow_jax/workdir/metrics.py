"""Metrics of a run on disk: `metrics.jsonl` and TensorBoard events."""

from collections.abc import Callable
import json
import math
import pathlib
from typing import Any

import jax

from barlow_jax.io import jsonl, log
from barlow_jax.io.jsonl import AppendOnlyFile


class MetricsWriter:
    """Writer of rows `{"step": ..., name: number}`, with null for values that are not finite.

    Only process 0 writes files. Files that cannot be written do not stop a run, and one does not affect the
    other; clu's MultiWriter, which also needs TensorFlow, would raise the first error.

    Attributes:
        latest: newest value of each name.
        first_step_names: names in the existing rows of `first_step`.
    """

    def __init__(self, workdir: pathlib.Path, *, first_step: int):
        """Open the files, and drop the rows after `first_step`, which an interrupted run has left."""
        self.latest: dict[str, float | None] = {}
        self.first_step_names: set[str] = set()
        self._active = jax.process_index() == 0
        if not self._active:
            return
        path = workdir / "metrics.jsonl"
        for row in jsonl.reopen(path, lambda row: row["step"] <= first_step):
            self.first_step_names |= row.keys() if row["step"] == first_step else set()
            self.latest |= row
        self._jsonl = AppendOnlyFile(path)
        self._tensorboard, self._warned = _open_tensorboard(workdir / "tensorboard"), False

    def write(self, step: int, row: dict[str, float]) -> None:
        """Write the row of a step."""
        row = {name: value if math.isfinite(value) else None for name, value in row.items()}
        self.latest |= row
        if not self._active:
            return
        self._jsonl.append(json.dumps({"step": step, **row}))
        if self._tensorboard:
            finite = {name: value for name, value in row.items() if value is not None}
            self._try(lambda: self._tensorboard.write_scalars(step, finite))

    def _try(self, write: Callable[[], None]) -> None:
        """Call TensorBoard's writer, which raises TensorFlow's errors and keeps unwritten events."""
        try:
            write()
        except Exception as error:
            if not self._warned:
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                log.warning(
                    f"TensorBoard events cannot be written ({reason}), and some may be lost; "
                    "metrics.jsonl contains all metrics"
                )
            self._warned = True

    def close(self) -> None:
        """Write what is pending, and close the files."""
        if self._active:
            self._jsonl.close()
            if self._tensorboard:
                self._try(self._tensorboard.close)


def _open_tensorboard(folder: pathlib.Path) -> Any:
    """Open a writer of TensorBoard events; without TensorFlow, log a message and return None."""
    try:
        from clu import metric_writers  # imports TensorFlow
    except ImportError as error:
        log.info(f"no TensorBoard events ({error}); metrics.jsonl contains all metrics")
        return None
    return metric_writers.SummaryWriter(str(folder))
