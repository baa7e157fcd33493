"""Limit on consecutive skipped steps, whose loss, gradient or running statistics are not finite."""

import collections
from collections.abc import Callable
import json
import pathlib
from typing import Any

import jax
import numpy as np

from barlow_jax.errors import RunError
from barlow_jax.io import files, log
from barlow_jax.types import Array, Batch, Metrics, TrainState

# `fit` has at most two steps under way; the metrics of older steps are available without a wait.
_UNDER_WAY = 2


class SkipWatch:
    """Hook that stops the run after too many skipped steps in a row.

    It reads the metrics two steps late, and so never waits. All processes read the same values, and stop at
    the same step.
    """

    def __init__(
        self,
        report: pathlib.Path,
        *,
        max_in_a_row: int | None,
        first_step: int,
        skipped_before: int,
        num_steps: int,
        gather: Callable[[Array], Array],
        save: Callable[[TrainState], None],
        newest_checkpoint: Callable[[], int],
        advice: str = "",
    ):
        """Start to count.

        Args:
          report: file for the indices of the images, written if the run stops.
          max_in_a_row: consecutive skipped steps that stop the run; None = never.
          first_step: updates done before this start.
          skipped_before: how many of them were skipped.
          num_steps: updates when the run is complete.
          gather: replicates a `[B]` array so that this process can read all of it.
          save: starts to save a checkpoint.
          newest_checkpoint: returns the step of the newest checkpoint; -1 if there is none.
          advice: remedy that is specific to the method.
        """
        self._report, self._max, self._num_steps = report, max_in_a_row, num_steps
        self._gather, self._save, self._newest_checkpoint = gather, save, newest_checkpoint
        self._advice = f"{advice}; " if advice else ""
        self._last_finite, self._total = first_step, skipped_before
        self._index: Array | None = None  # of the newest batch
        self._under_way: collections.deque[tuple[int, Array, Array]] = collections.deque()
        self._in_a_row: list[tuple[int, Array]] = []

    def note_examples(self, step: Callable[[TrainState, Batch], Any]) -> Callable[[TrainState, Batch], Any]:
        """Return the step, wrapped so that this hook knows the indices of the examples in its batches."""

        def noting(state: TrainState, batch: Batch) -> Any:
            self._index = batch.index
            return step(state, batch)

        return noting

    def __call__(self, done: int, state: TrainState, metrics: Metrics) -> None:
        """Check the steps whose metrics are available.

        Raises:
          RunError: too many steps in a row were skipped.
        """
        if self._max is None:
            return
        total = metrics["skipped_steps"]
        total.copy_to_host_async()
        self._under_way.append((done, self._index, total))
        while self._under_way and (len(self._under_way) > _UNDER_WAY or done == self._num_steps):
            self._count(*self._under_way.popleft())
            if len(self._in_a_row) >= self._max:
                self._stop(state)

    def _count(self, step: int, index: Array, total: Array) -> None:
        skipped, self._total = int(total) > self._total, int(total)
        if skipped:
            self._in_a_row.append((step, index))
        else:
            self._in_a_row.clear()
            self._last_finite = step

    def _write_report(self, report: dict[str, Any]) -> None:
        """Write the report, or log it if the disk is full, which may be a problem of its own."""
        try:
            files.write_json(self._report, report)
        except OSError as error:
            log.error(f"{self._report} cannot be written ({error.strerror or error}): {json.dumps(report)}")

    def _stop(self, state: TrainState) -> None:
        """Save the state after the last finite step, unless a checkpoint has it already, and raise.

        A run that is restarted again and again must not replace its intact checkpoints by copies of the last
        one.
        """
        examples = [
            {"step": step, "examples": np.asarray(self._gather(index)).tolist()}
            for step, index in self._in_a_row
        ]
        first, last = self._in_a_row[0][0], self._in_a_row[-1][0]
        if unsaved := self._last_finite > self._newest_checkpoint():
            self._save(state)
        saved = "is saved" if unsaved else "was saved before"
        if jax.process_index() == 0:
            self._write_report({"last_finite_step": self._last_finite, "skipped": examples})
        raise RunError(
            f"{len(examples)} steps in a row, {first} to {last}, were skipped because the loss or its "
            f"gradient was not finite. The state after step {self._last_finite} {saved}. The indices of "
            f"their images are in {self._report}. Remedies: {self._advice}a lower "
            "--config.optim.learning_rate, more --config.optim.warmup_epochs or "
            "--config.network.dtype=float32, each in another workdir; an older checkpoint (move the newer "
            "ones out of the folder); a higher limit, --config.train.max_skipped_steps."
        )
