"""Limit on consecutive skipped steps, whose loss, gradient or running statistics are not finite."""

import collections
from collections.abc import Callable
import dataclasses
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


@dataclasses.dataclass
class SkipWatch:
    """Hook that stops the run after too many skipped steps in a row.

    It reads the metrics two steps late, and so never waits. All processes read the same values, and stop at
    the same step.
    """

    report: pathlib.Path  # file for the indices of the images, written if the run stops
    max_in_a_row: int | None  # consecutive skipped steps that stop the run; None = never
    last_finite: int  # newest step that was not skipped; at first the updates done before this start
    num_skipped: int  # skipped steps so far; at first those before this start
    num_steps: int  # updates when the run is complete
    gather: Callable[[Array], Array]  # replicates a `[B]` array so that this process can read all of it
    save: Callable[[TrainState], None]  # starts to save a checkpoint
    newest_checkpoint: Callable[[], int]  # returns the step of the newest checkpoint; -1 if there is none
    advice: str = ""  # remedy that is specific to the method

    def __post_init__(self) -> None:
        self._index: Any = None  # of the newest batch
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
        if self.max_in_a_row is None:
            return
        total = metrics["skipped_steps"]
        total.copy_to_host_async()
        self._under_way.append((done, self._index, total))
        while self._under_way and (len(self._under_way) > _UNDER_WAY or done == self.num_steps):
            self._count(*self._under_way.popleft())
            if len(self._in_a_row) >= self.max_in_a_row:
                self._stop(state)

    def _count(self, step: int, index: Array, total: Array) -> None:
        skipped, self.num_skipped = int(total) > self.num_skipped, int(total)
        if skipped:
            self._in_a_row.append((step, index))
        else:
            self._in_a_row.clear()
            self.last_finite = step

    def _write_report(self, report: dict[str, Any]) -> None:
        """Write the report, or log it if the disk is full, which may be a problem of its own."""
        try:
            files.write_json(self.report, report)
        except OSError as error:
            log.error(f"{self.report} cannot be written ({error.strerror or error}): {json.dumps(report)}")

    def _stop(self, state: TrainState) -> None:
        """Save the state after the last finite step, unless a checkpoint has it already, and raise.

        A run that is restarted again and again must not replace its intact checkpoints by copies of the last
        one.
        """
        examples = [
            {"step": step, "examples": np.asarray(self.gather(index)).tolist()}
            for step, index in self._in_a_row
        ]
        if unsaved := self.last_finite > self.newest_checkpoint():
            self.save(state)
        saved = "is saved" if unsaved else "was saved before"
        if jax.process_index() == 0:
            self._write_report({"last_finite_step": self.last_finite, "skipped": examples})
        advice = f"{self.advice}; " if self.advice else ""
        raise RunError(
            f"{len(examples)} steps in a row, {examples[0]['step']} to {examples[-1]['step']}, were skipped "
            f"because the loss or its gradient was not finite. The state after step {self.last_finite} "
            f"{saved}. The indices of their images are in {self.report}. Remedies: {advice}a lower "
            "--config.optim.learning_rate, more --config.optim.warmup_epochs or "
            "--config.network.dtype=float32, each in another workdir; an older checkpoint (move the newer "
            "ones out of the folder); a higher limit, --config.train.max_skipped_steps."
        )
