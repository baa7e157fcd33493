"""Limit on consecutive skipped steps, whose loss, gradient or running statistics are not finite."""

import collections
from collections.abc import Callable
import json
from typing import Any

import jax
import numpy as np

from barlow_jax.config.method_facts import method_facts
from barlow_jax.errors import RunError
from barlow_jax.experiment.run import Run
from barlow_jax.io import files, log
from barlow_jax.optim import optimizers
from barlow_jax.types import Array, Batch, Metrics, TrainState

# `fit` has at most two steps under way; the metrics of older steps are available without a wait.
_UNDER_WAY = 2


class SkipWatch:
    """Hook that stops the run after too many skipped steps in a row.

    It reads the metrics two steps late, and so never waits. All processes read the same values, and stop at
    the same step.
    """

    def __init__(self, run: Run, state: TrainState):
        """Take the run, and the state that this start begins with."""
        self._run = run
        self._report = run.workdir / "results" / "skipped.json"
        self._last_finite = run.first_step  # newest step that was not skipped
        self._num_skipped = run.first_step - int(optimizers.num_updates(state.opt_state))
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
        max_in_a_row = self._run.experiment.config.train.max_skipped_steps
        if max_in_a_row is None:
            return
        total = metrics["skipped_steps"]
        total.copy_to_host_async()
        self._under_way.append((done, self._index, total))
        while self._under_way and (len(self._under_way) > _UNDER_WAY or done == self._run.num_steps):
            self._count(*self._under_way.popleft())
            if len(self._in_a_row) >= max_in_a_row:
                self._stop(state)

    def _count(self, step: int, index: Array, total: Array) -> None:
        skipped, self._num_skipped = int(total) > self._num_skipped, int(total)
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
            {"step": step, "examples": np.asarray(self._run.experiment.layout.replicate(index)).tolist()}
            for step, index in self._in_a_row
        ]
        checkpoints = self._run.checkpoints
        if unsaved := self._last_finite > max(checkpoints.steps, default=-1):
            checkpoints.save(state)
        saved = "is saved" if unsaved else "was saved before"
        if jax.process_index() == 0:
            self._write_report({"last_finite_step": self._last_finite, "skipped": examples})
        name = self._run.experiment.config.objective.name
        own = method_facts(name).if_not_finite
        advice = f"{own}; " if own else ""
        raise RunError(
            f"{len(examples)} steps in a row, {examples[0]['step']} to {examples[-1]['step']}, were skipped "
            f"because the loss or its gradient was not finite. The state after step {self._last_finite} "
            f"{saved}. The indices of their images are in {self._report}. Remedies: {advice}a lower "
            "--config.optim.learning_rate, more --config.optim.warmup_epochs or "
            "--config.network.dtype=float32, each in another workdir; an older checkpoint (move the newer "
            "ones out of the folder); a higher limit, --config.train.max_skipped_steps."
        )
