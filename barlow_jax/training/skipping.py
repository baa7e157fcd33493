"""Steps that were not taken because something in them was not finite: how many in a row, and of which images."""

import collections
from collections.abc import Callable
import json
import pathlib
import sys
from typing import Any

import jax
import numpy as np

from barlow_jax.errors import RunError
from barlow_jax.io import files
from barlow_jax.types import Array, Batch, Metrics, TrainState

# `fit` has at most two steps under way: what is older is there without waiting for it.
_UNDER_WAY = 2


class SkipWatch:
    """A hook that stops the run after too many skipped steps in a row. Costs no wait: it looks two steps back.

    All processes see the same numbers, and stop at the same step.
    """

    def __init__(
        self,
        report: pathlib.Path,
        *,
        max_in_a_row: int | None,
        start: tuple[int, int],
        num_steps: int,
        gather: Callable[[Array], Array],
        save: Callable[[TrainState], None],
        newest: Callable[[], int],
        advice: str = "",
    ):
        """Args:
        report: the file that names the images if it comes to that.
        max_in_a_row: steps; None never stops.
        start: updates done before this start, and how many of them were skipped.
        num_steps: updates when the run is done.
        gather: lays a `[B]` array out so that this process can read all of it.
        save: starts to save a checkpoint.
        newest: the step of the newest checkpoint; -1 where there is none.
        advice: what else helps this method.
        """
        self._report, self._max, self._num_steps = report, max_in_a_row, num_steps
        self._gather, self._save, self._newest = gather, save, newest
        self._advice = f"{advice}; " if advice else ""
        self._last_good, self._total = start
        self._newest_index: Array | None = None
        self._under_way: collections.deque[tuple[int, Array, Array]] = collections.deque()
        self._in_a_row: list[tuple[int, Array]] = []

    def watched(self, step: Callable[[TrainState, Batch], Any]) -> Callable[[TrainState, Batch], Any]:
        """The same step, its batches' example ids noted."""

        def noted(state: TrainState, batch: Batch) -> Any:
            self._newest_index = batch.index
            return step(state, batch)

        return noted

    def __call__(self, done: int, state: TrainState, metrics: Metrics) -> None:
        if self._max is None:
            return
        total = metrics["skipped_steps"]
        total.copy_to_host_async()
        self._under_way.append((done, self._newest_index, total))
        while self._under_way and (len(self._under_way) > _UNDER_WAY or done == self._num_steps):
            self._look(*self._under_way.popleft())
            if len(self._in_a_row) >= self._max:
                self._stop(state)

    def _look(self, step: int, index: Array, total: Array) -> None:
        skipped, self._total = int(total) > self._total, int(total)
        if skipped:
            self._in_a_row.append((step, index))
        else:
            self._in_a_row.clear()
            self._last_good = step

    def _write(self, report: dict[str, Any]) -> None:
        """To standard error where the disk does not take it: a full one may be what else is wrong."""
        try:
            files.write_json(self._report, report)
        except OSError as error:
            words = f"{self._report} cannot be written ({error.strerror or error}). It would say: {json.dumps(report)}"
            print(words, file=sys.stderr)

    def _stop(self, state: TrainState) -> None:
        """Saves what the last finite step left, unless that is saved already, and says what happened.

        A run that is started again and again must not push its good checkpoints out with copies of the last one.
        """
        examples = [
            {"step": step, "examples": np.asarray(self._gather(index)).tolist()}
            for step, index in self._in_a_row
        ]
        first, last = self._in_a_row[0][0], self._in_a_row[-1][0]
        if news := self._last_good > self._newest():
            self._save(state)
        saved = "is saved" if news else "was saved before"
        if jax.process_index() == 0:
            self._write({"last_good_step": self._last_good, "skipped": examples})
        raise RunError(
            f"the loss or its gradient was not finite in {len(examples)} steps in a row, {first} to {last}; none of "
            f"them was taken, and the state after step {self._last_good} {saved}. The ids of their images are in "
            f"{self._report}. What helps: {self._advice}a lower --config.optim.learning_rate, more "
            "--config.optim.warmup_epochs or --config.network.dtype=float32, each in another workdir; an older "
            "checkpoint (move the newer ones out of the folder); --config.train.max_skipped_steps, to allow more"
        )
