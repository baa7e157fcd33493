"""Status of a run, `status.json`: its progress, and the cost of its restarts so far.

Goodput is useful time divided by wall time:

- **useful**: seconds in steps that count in the end. Steps that a restart repeats count once. The start of a
  process, its first step (which compiles), evaluations, and the pauses for saving do not count.
- **wall**: seconds from the first start on this workdir to `updated`, including those in which nothing ran.
- **lost to restarts**: for each start but the first, the seconds from the time when the step that it resumes
  from was first reached to the end of its own first step.

The file's `marks` record when each step was reached. A kill at any time leaves the previous file complete; if
the file is missing or damaged, counting starts again.
"""

from collections.abc import Callable, Iterator, Mapping
import contextlib
import datetime
import math
import os
import socket
import time
from typing import Any

from barlow_jax.io import files, log, paths
from barlow_jax.io.background import Background
from barlow_jax.io.paths import Path
from barlow_jax.workdir import saved_run

_MAX_MARKS = 200
_INTERVAL_S = 5.0  # between writes to a bucket
_CLOSE_S = 60.0
_METRICS = ("loss", "skipped_steps", "decode_failures")
# Step, useful seconds until it was reached, Unix time when it was reached.
_Mark = tuple[int, float, float]


class Status:
    """Context manager that keeps `status.json` current on process 0, which is the `active` one."""

    def __init__(self, workdir: Path, *, num_steps: int, epoch: Callable[[int], float], active: bool = True):
        """Read the status that earlier starts left.

        Args:
            workdir: workdir, locked by this run.
            num_steps: number of updates of the complete run.
            epoch: returns the epoch of a step.
            active: whether this process writes the file.
        """
        self._workdir, self._active, self._warned = workdir, active, False
        self._num_steps, self._epoch = num_steps, epoch
        previous = (saved_run.saved_status(workdir) if active else None) or {}
        self._previous, self._started = previous, time.time()
        self._first_start = float(previous.get("first_start_unix", self._started))
        self._starts = int(previous.get("starts", 0)) + 1
        self._lost = float(previous.get("lost_seconds", 0.0))
        self._marks: list[_Mark] = [tuple(mark) for mark in previous.get("marks", ())]
        self._row: Mapping[str, Any] = {name: previous.get(name) for name in _METRICS}
        self._state, self._reason = "starting", None
        self._useful, self._since = self._marks[-1][1] if self._marks else 0.0, None
        self._first_step = self._step = int(previous.get("step", 0))
        self._unwritten: Mapping[str, Any] = {}
        in_bucket = active and paths.is_url(workdir)
        self._background = Background(self._write_file, _INTERVAL_S) if in_bucket else None

    def __enter__(self) -> "Status":
        self._write()
        return self

    def __exit__(self, error_type: Any, error: BaseException | None, traceback: Any) -> None:
        self._tick()
        self._state = "finished" if error is None and self._reason is None else "stopped"
        if error is not None:
            self._reason = f"{type(error).__name__}: {error}".splitlines()[0].removesuffix(": ")
        if self._first_step == self._num_steps and self._previous.get("state") == "finished":
            self._write(self._previous)  # the run was already finished
        else:
            self._write()
        if self._background is not None:
            self._background.close(_CLOSE_S)

    def begin(self, first_step: int) -> None:
        """Set the step that this start resumes from; later steps will be repeated."""
        self._first_step = self._step = first_step
        self._reached = self._at(first_step)
        self._marks = [*(mark for mark in self._marks if mark[0] < first_step), self._reached]
        self._useful = self._reached[1]
        self._write()

    def stop(self, reason: str) -> None:
        """Record that the run ends early, but can resume."""
        self._reason = reason

    def _at(self, step: int) -> _Mark:
        """Return when a step was reached, interpolated linearly between marks."""
        earlier = [mark for mark in self._marks if mark[0] <= step]
        later = [mark for mark in self._marks if mark[0] > step]
        if not earlier:
            return step, 0.0, self._first_start
        marked_step, useful, wall = earlier[-1]
        if later:
            fraction = (step - marked_step) / (later[0][0] - marked_step)
            useful += fraction * (later[0][1] - useful)
            wall += fraction * (later[0][2] - wall)
        return step, useful, wall

    def first_step_done(self) -> None:
        """Mark the end of compilation; from here on, step time counts as useful time."""
        if self._starts > 1:
            self._lost += time.time() - self._reached[2]
        self._state, self._since = "training", time.monotonic()
        self._write()

    def log(self, step: int, row: Mapping[str, Any]) -> None:
        """Record a completed step and its row of metrics."""
        self._row = row
        self._mark(step)
        self._write()

    @contextlib.contextmanager
    def during(self, state: str, step: int) -> Iterator[None]:
        """Show another state during the block, whose time is not useful time, after a completed step."""
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
        if len(self._marks) > _MAX_MARKS:  # keep every second mark of the older half
            half = _MAX_MARKS // 2
            self._marks = [*self._marks[:half:2], *self._marks[half:]]

    def _tick(self) -> None:
        if self._since is not None:
            now = time.monotonic()
            self._useful += now - self._since
            self._since = now

    def _write(self, content: dict[str, Any] | None = None) -> None:
        if not self._active:
            return
        self._unwritten = content or self._content()
        if self._background is not None:
            self._background.request()
        else:
            self._write_file()

    def _write_file(self) -> None:
        content = self._unwritten
        if "checkpoint" not in content:
            content = {**content, "checkpoint": self._checkpoint()}
        try:
            files.write_json(self._workdir / saved_run.STATUS, content)
            self._warned = False
        except OSError as error:
            if not self._warned:
                path = self._workdir / saved_run.STATUS
                log.warning(f"{path} cannot be written ({error.strerror or error}); training continues")
            self._warned = True

    def _content(self) -> dict[str, Any]:
        now = time.time()
        wall = max(now - self._first_start, 1e-9)
        return {
            "state": self._state,
            "reason": self._reason,
            "step": self._step,
            "num_steps": self._num_steps,
            "epoch": self._epoch(self._step),
            "images_per_second": _finite(self._row.get("images_per_second")),
            "loss": _finite(self._row.get("loss")),
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
        """Return step and time of the newest complete checkpoint."""
        steps = saved_run.checkpoint_steps(self._workdir)
        try:
            path = self._workdir / saved_run.CHECKPOINTS / str(steps[-1])
            path = path / saved_run.COMMITTED if paths.is_url(path) else path
            return {"step": steps[-1], "time": _utc(path.stat().st_mtime)}
        except (OSError, IndexError):
            return None


def _finite(value: Any) -> float | None:
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def _utc(seconds: float) -> str:
    return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%d %H:%M:%S} UTC"
