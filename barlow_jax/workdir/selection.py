"""Choice of a run's best checkpoint by what was measured in training (`config.monitor.select_by`)."""

from collections.abc import Mapping, Sequence
from typing import Any

from barlow_jax.errors import UserError
from barlow_jax.io import jsonl
from barlow_jax.io.paths import Path
from barlow_jax.workdir import saved_run

ADAPTED = "adapt_gain_lower"  # of a run of `adapt`
_METRICS = {
    "adapt": ADAPTED,
    "knn": "knn_top1",
    "rankme": "rankme",
    "lidar": "lidar",
    "alpha_req": "alpha_req",
    "view_retrieval": "view_retrieval_top1",
}
LABEL_FREE = ("rankme", "lidar", "alpha_req", "view_retrieval_top1")
# What `auto` selects by without labels. In 69 runs of eight methods on the digits, the run that it selects is
# 0.3 points of linear accuracy below a method's best one; by RankMe 4.7, by LiDAR 6.3 (docs/monitoring.md).
WITHOUT_LABELS = "view_retrieval"


def scores(rows: Sequence[Mapping[str, Any]], select_by: str) -> tuple[str, dict[int, float]]:
    """Return the metric that decides, and a score by measured step, of which higher is better."""
    if select_by == "auto":
        labeled = any(row.get("knn_top1") is not None for row in rows)
        adapts = any(ADAPTED in row for row in rows)
        select_by = "adapt" if adapts else "knn" if labeled else WITHOUT_LABELS
    metric = _METRICS[select_by]
    values = {row["step"]: row[metric] for row in rows if row.get(metric) is not None}
    # The exponent of the best representations is near 1.
    return metric, {k: -abs(v - 1) for k, v in values.items()} if metric == "alpha_req" else values


def best_step(rows: Sequence[Mapping[str, Any]], select_by: str, steps: Sequence[int]) -> int | None:
    """Return the best of these steps, the newest of equally good ones; None if none was measured."""
    _, by_step = scores(rows, select_by)
    measured = [step for step in steps if step in by_step]
    return max(measured, key=lambda step: (by_step[step], step), default=None)


def best_checkpoint(workdir: Path, select_by: str) -> Path:
    """Return the folder of a run's best checkpoint.

    Raises:
      UserError: the metric that decides was not measured for any existing checkpoint.
    """
    steps, metrics = saved_run.checkpoint_steps(workdir), workdir / "metrics.jsonl"
    rows = [row for row in jsonl.read(metrics)[0] if isinstance(row.get("step"), int)]
    best = best_step(rows, select_by, steps)
    if best is None:
        existing = f"checkpoints of steps {', '.join(map(str, steps))}" if steps else "no checkpoint"
        raise UserError(
            f"--checkpoint=best: {metrics} has no {scores(rows, select_by)[0]} for any existing checkpoint; "
            f"{workdir} holds {existing}. Pass one of those steps, newest, or another "
            "--config.monitor.select_by."
        )
    return workdir / saved_run.CHECKPOINTS / str(best)
