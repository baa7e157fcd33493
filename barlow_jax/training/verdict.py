"""Verdict on a run, from its metrics alone: collapsed, overfitting, saturated, or not trained to the end."""

from collections.abc import Mapping, Sequence
import socket
import time
from typing import Any, NamedTuple

from barlow_jax.config import records
from barlow_jax.io import jsonl
from barlow_jax.io.paths import Path
from barlow_jax.training.diagnostics import PERSISTENT_ROWS, collapse_signs, finding
from barlow_jax.workdir import lock, saved_run, selection

# Measurements without improvement after which a run is saturated. In 31 runs on the digits, 12 measurements
# each, 2 of 13 such verdicts by k-NN were wrong, and 4 of 17 by retrieval; with three, 6 of 25 and 13 of 27.
PATIENCE = 5
# Changes that count, by metric; of ranks as a fraction. k-NN's standard error on 2 000 images is 0.5 %.
_CHANGE = {selection.ADAPTED: 0.005, "knn_top1": 0.005, "view_retrieval_top1": 0.005, "alpha_req": 0.02}
_RANK_CHANGE, _RETRIEVAL_LOSS = 0.01, 0.02

Rows = Sequence[Mapping[str, Any]]


class Verdict(NamedTuple):
    """State of a run, and the numbers that it follows from."""

    # A key of `diagnostics.NAMES`, "overfitting", "saturated", "undertrained", or "unknown"
    state: str
    text: str
    metric: str = ""  # that decided
    value: float | None = None  # its newest value
    since_epoch: float | None = None  # of the best value, to which later ones add nothing
    per_epoch: float | None = None  # change of the score between the last two measurements

    @property
    def is_problem(self) -> bool:
        """True for a collapse and for overfitting."""
        return self.state not in ("saturated", "undertrained", "unknown")


def judge(rows: Rows, config: Mapping[str, Any]) -> Verdict:
    """Return the verdict on a run.

    Args:
      rows: of metrics.jsonl.
      config: of the run, by flat key.
    """
    return _collapse(rows, config) or _overfitting(rows) or _progress(rows, config)


def _collapse(rows: Rows, config: Mapping[str, Any]) -> Verdict | None:
    """Return the collapse that all of the newest rows after the warm-up have; None without one."""
    start = max(1.0, config.get("optim.warmup_epochs", 0.0))
    trained = [
        row for row in rows if row.get("embedding_spread") is not None and (row.get("epoch") or 0) >= start
    ]
    found = [collapse_signs(row, config) for row in trained[-PERSISTENT_ROWS:]]
    if len(found) < PERSISTENT_ROWS or not (states := [s for s in found[-1] if all(s in f for f in found)]):
        return None
    state, (metric, value) = states[0], found[-1][states[0]]
    row = {**trained[-1], "rankme_embedding": _latest(rows, "rankme_embedding")}
    return Verdict(state, f"{finding(state, metric, value, row)}.".capitalize(), metric, value)


def _overfitting(rows: Rows) -> Verdict | None:
    """Return whether the loss falls while views of held-out images agree less; None if not."""
    loss, measured = None, []
    for row in rows:
        loss = loss if row.get("loss") is None else row["loss"]
        if loss is not None and row.get("view_retrieval_top1") is not None:
            measured.append((row["epoch"], row["view_retrieval_top1"], row["alignment"], loss))
    if not measured:
        return None
    best = max(measured, key=lambda point: point[1])
    later = measured[measured.index(best) + 1 :]
    if len(later) < 2 or not all(
        retrieval < best[1] - _RETRIEVAL_LOSS and alignment > best[2] and loss < best[3]
        for _, retrieval, alignment, loss in later[-2:]
    ):
        return None
    last = later[-1]
    text = (
        f"Overfitting the pretext task since epoch {best[0]:g}: the loss fell from {best[3]:.4g} to "
        f"{last[3]:.4g}, but of held-out images {last[1]:.1%} of the views are found, after {best[1]:.1%}."
    )
    return Verdict("overfitting", text, "view_retrieval_top1", last[1], best[0])


def _progress(rows: Rows, config: Mapping[str, Any]) -> Verdict:
    metric, scores = selection.scores(rows, config.get("monitor.select_by", "auto"))
    epochs = {row["step"]: row["epoch"] for row in rows if row.get("epoch") and row["step"]}
    if len(scores) < 2 or not epochs:
        return Verdict("unknown", f"No verdict yet: {metric} was measured {len(scores)} times.", metric)
    step, epoch = max(epochs.items())
    points = [(epochs.get(s, s * epoch / step), score) for s, score in sorted(scores.items())]
    values = [score for _, score in points]
    step_size = change(metric, values[-1])
    first = next(i for i in range(len(values)) if max(values[i:]) <= values[i] + step_size)
    (before, old), (last, new) = points[-2:]
    per_epoch, value = (new - old) / (last - before), _latest(rows, metric)
    since = points[first][0]
    fixed = (metric, value, since, per_epoch)
    if (later := len(values) - 1 - first) >= PATIENCE:
        text = (
            f"Saturated since epoch {since:g}: {later} measurements added nothing; {metric} is {value:.4g}."
        )
        return Verdict("saturated", text, *fixed)
    if new > old + step_size:
        text = f"Still improving: {metric} is {value:.4g}, {per_epoch:.2g} per epoch; train on."
        return Verdict("undertrained", text, *fixed)
    text = f"No verdict yet: {metric} is {value:.4g}, and did not improve in the last measurement."
    return Verdict("unknown", text, *fixed)


def change(metric: str, value: float) -> float:
    """Return the smallest change of a metric of `selection.scores` that counts."""
    return _CHANGE.get(metric, _RANK_CHANGE * abs(value))


def _latest(rows: Rows, name: str) -> float | None:
    return next((row[name] for row in reversed(rows) if row.get(name) is not None), None)


def read_status(workdir: Path) -> dict[str, Any]:
    """Return the fields of `status.json` without its marks, and the verdict. Safe while the run is running.

    Returns:
      The fields, `age_seconds` and `alive`, which is None if the run was on another machine and its lock is
      free. Without a readable `status.json`: `state` (None), `alive` and the steps of the `checkpoints`.
    """
    status, alive = saved_run.saved_status(workdir), lock.holder(workdir) is not None
    if status is None:
        return {"state": None, "alive": alive, "checkpoints": saved_run.checkpoint_steps(workdir)}
    del status["marks"]
    rows, _ = jsonl.read(workdir / "metrics.jsonl")
    rows = [row for row in rows if isinstance(row.get("step"), int)]
    tree, _ = saved_run.with_defaults(saved_run.saved_config(workdir) or {})
    status["verdict"] = judge(rows, records.flatten(tree))._asdict()
    local = status["host"] == socket.gethostname()
    status["alive"] = True if alive else False if local else None
    status["age_seconds"] = max(0.0, time.time() - status["updated_unix"])
    return status
