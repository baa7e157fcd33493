"""`status.json` of a workdir: where a run is, and what its restarts have cost so far.

Goodput is useful time over wall time:

- **useful**: seconds in steps that count in the end. What a restart did again was not useful the first time. Nor are
  the start of a process, its first step (which compiles), evaluations, and the time that a save stops the steps for.
- **wall**: seconds from the first start on this workdir to `updated`, those in which nothing ran included.
- **lost to restarts**: of the wall time, for each start but the first, the seconds from the moment when the step that
  it resumes from was reached to the end of its own first step.

For that the file has `marks`: when which step was reached. A kill at any moment leaves the last file whole; a file
that is missing or damaged is counted as none, and counting starts anew.
"""

from collections.abc import Iterator, Mapping
import contextlib
import datetime
import math
import os
import pathlib
import socket
import sys
import time
from typing import Any

import tqdm

from barlow_jax.io import files
from barlow_jax.workdir import saved_run

_MOST_MARKS = 200
_OF_ROWS = ("loss", "skipped_steps", "decode_failures")
# Step, useful seconds until then, Unix time then.
_Mark = tuple[int, float, float]


class Status:
    """Keeps the file while it is entered. Those of process 0 alone are `active`; the others do nothing."""

    def __init__(self, workdir: pathlib.Path, *, num_steps: int, steps_per_epoch: int, active: bool = True):
        """Args:
        workdir: locked by this run.
        num_steps: updates when the run is done.
        steps_per_epoch: for the epoch.
        active: writes.
        """
        self._workdir, self._active, self._warned = workdir, active, False
        self._num_steps, self._steps_per_epoch = num_steps, steps_per_epoch
        before = (saved_run.saved_status(workdir) if active else None) or {}
        self._before, self._started = before, time.time()
        self._first_start = float(before.get("first_start_unix", self._started))
        self._starts = int(before.get("starts", 0)) + 1
        self._lost = float(before.get("lost_seconds", 0.0))
        self._marks: list[_Mark] = [tuple(mark) for mark in before.get("marks", ())]
        self._row: Mapping[str, Any] = {name: before.get(name) for name in _OF_ROWS}
        self._state, self._why = "starting", None
        self._useful, self._since = self._marks[-1][1] if self._marks else 0.0, None
        self._first_step = self._step = int(before.get("step", 0))

    def __enter__(self) -> "Status":
        self._write()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        self._tick()
        self._state = "finished" if error is None else "stopped"
        if error is not None:
            self._why = f"{type(error).__name__}: {error}".splitlines()[0].removesuffix(": ")
        if self._first_step == self._num_steps and self._before.get("state") == "finished":
            self._write(self._before)  # there was nothing to do
        else:
            self._write()

    def begin(self, first_step: int) -> None:
        """The step that this start resumes from: all that came after it is to be done again."""
        self._first_step = self._step = first_step
        self._reached = self._at(first_step)
        self._marks = [*(mark for mark in self._marks if mark[0] < first_step), self._reached]
        self._useful = self._reached[1]
        self._write()

    def _at(self, step: int) -> _Mark:
        """When a step was reached, between two marks by proportion."""
        earlier = [mark for mark in self._marks if mark[0] <= step]
        later = [mark for mark in self._marks if mark[0] > step]
        if not earlier:
            return step, 0.0, self._first_start
        then, useful, wall = earlier[-1]
        if later:
            share = (step - then) / (later[0][0] - then)
            useful += share * (later[0][1] - useful)
            wall += share * (later[0][2] - wall)
        return step, useful, wall

    def first_step_done(self) -> None:
        """From now on steps take the time that they take."""
        if self._starts > 1:
            self._lost += time.time() - self._reached[2]
        self._state, self._since = "training", time.monotonic()
        self._write()

    def log(self, step: int, row: Mapping[str, Any]) -> None:
        """Step, and the metrics' row of it, when it is done."""
        self._row = row
        self._mark(step)
        self._write()

    @contextlib.contextmanager
    def during(self, state: str, step: int) -> Iterator[None]:
        """The block is no part of a step; this one is done."""
        self._mark(step)
        self._state, self._since = state, None
        self._write()
        yield
        self._state, self._since = "training", time.monotonic()
        self._write()

    def _mark(self, step: int) -> None:
        self._tick()
        self._step = step
        self._marks = [*(mark for mark in self._marks if mark[0] < step), (step, self._useful, time.time())]
        if len(self._marks) > _MOST_MARKS:  # the older half at half the density
            half = _MOST_MARKS // 2
            self._marks = [*self._marks[:half:2], *self._marks[half:]]

    def _tick(self) -> None:
        if self._since is not None:
            now = time.monotonic()
            self._useful += now - self._since
            self._since = now

    def _write(self, figures: dict[str, Any] | None = None) -> None:
        if not self._active:
            return
        try:
            files.write_json(self._workdir / saved_run.STATUS, figures or self._figures())
            self._warned = False
        except OSError as error:
            if not self._warned:
                tqdm.tqdm.write(
                    f"WARNING: {self._workdir / saved_run.STATUS} cannot be written ({error.strerror or error})",
                    file=sys.stderr,
                )
            self._warned = True

    def _figures(self) -> dict[str, Any]:
        now = time.time()
        wall = max(now - self._first_start, 1e-9)
        return {
            "state": self._state,
            "why": self._why,
            "step": self._step,
            "num_steps": self._num_steps,
            "epoch": self._step / self._steps_per_epoch,
            "images_per_second": _finite(self._row.get("images_per_second")),
            "loss": _finite(self._row.get("loss")),
            "checkpoint": self._checkpoint(),
            "starts": self._starts,
            "restarts": self._starts - 1,
            "decode_failures": int(self._row.get("decode_failures") or 0),
            "skipped_steps": int(self._row.get("skipped_steps") or 0),
            "lost_seconds": self._lost,
            "useful_seconds": self._useful,
            "wall_seconds": wall,
            "goodput": min(1.0, self._useful / wall),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "started": _utc(self._started),
            "updated": _utc(now),
            "updated_unix": now,
            "first_start_unix": self._first_start,
            "marks": self._marks,
        }

    def _checkpoint(self) -> dict[str, Any] | None:
        """The newest that is there whole."""
        steps = saved_run.checkpoint_steps(self._workdir)
        try:
            return {
                "step": steps[-1],
                "time": _utc((self._workdir / saved_run.CHECKPOINTS / str(steps[-1])).stat().st_mtime),
            }
        except (OSError, IndexError):
            return None


def _finite(value: Any) -> float | None:
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def _utc(seconds: float) -> str:
    return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%d %H:%M:%S} UTC"
