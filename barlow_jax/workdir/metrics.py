"""Metrics of a run on disk, `metrics.jsonl`, which sinks receive a copy of."""

from collections.abc import Mapping, Sequence
import json
import math
from typing import Any

import jax

from barlow_jax.io import jsonl
from barlow_jax.io.paths import Path
from barlow_jax.workdir.sinks import BackgroundSink


class MetricsWriter:
    """Writer of rows `{"step": ..., name: number}`, with null for values that are not finite.

    Only process 0 writes. Files that cannot be written and sinks that fail do not stop a run.

    Attributes:
        latest: newest value of each name.
        rows: all rows of the run, on process 0.
        first_step_names: names in the existing rows of `first_step`.
    """

    def __init__(
        self,
        workdir: Path,
        *,
        first_step: int,
        sinks: Sequence[str] = (),
        config: Mapping[str, Any] | None = None,
    ):
        """Open file and sinks, and drop the rows after `first_step`, which an interrupted run has left.

        `sinks` are names in `sinks.SINKS`, which also receive the resolved `config` with flat keys.
        """
        self.latest: dict[str, float | None] = {}
        self.rows: list[dict[str, Any]] = []
        self.first_step_names: set[str] = set()
        self._active = jax.process_index() == 0
        if not self._active:
            return
        path, newest = workdir / "metrics.jsonl", {}

        def keep(row: dict[str, Any]) -> bool:
            newest.update(dict.fromkeys(row, row["step"]))
            return row["step"] <= first_step

        self.rows = jsonl.reopen(path, keep)
        for row in self.rows:
            self.first_step_names |= row.keys() if row["step"] == first_step else set()
            self.latest |= row
        self._jsonl = jsonl.open_append(path)
        self._sinks = [BackgroundSink(name, workdir, config or {}, newest) for name in dict.fromkeys(sinks)]

    def write(self, step: int, row: dict[str, float]) -> None:
        """Write the row of a step."""
        row = {name: value if math.isfinite(value) else None for name, value in row.items()}
        self.latest |= row
        if not self._active:
            return
        self.rows.append({"step": step, **row})
        self._jsonl.append(json.dumps(self.rows[-1]))
        for sink in self._sinks:
            sink.write(step, row)

    def flush(self) -> None:
        """Make sure that a killed process leaves all rows; see `AppendOnlyFile.flush`."""
        if self._active:
            self._jsonl.flush()

    def close(self) -> None:
        """Write what is pending, and close the file and the sinks."""
        if self._active:
            self._jsonl.close()
            for sink in self._sinks:
                sink.close()
