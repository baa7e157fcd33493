"""Status of a run as its readers see it: `status.json`, whether the run is alive, and the verdict on it."""

import pathlib
import socket
import time
from typing import Any

from barlow_jax.config import records
from barlow_jax.io import jsonl
from barlow_jax.training import verdict
from barlow_jax.workdir import lock, saved_run


def read(workdir: pathlib.Path) -> dict[str, Any]:
    """Return the fields of `status.json` without its marks, and the verdict. Safe while the run is running.

    Returns:
      The fields, `age_seconds` and `alive`, which is None if the run was on another machine and its lock is
      free. Without a readable `status.json`: `state` (None), `alive` and the steps of the `checkpoints`.
    """
    status, alive = saved_run.saved_status(workdir), lock.holder(workdir) is not None
    if status is None:
        return {"state": None, "alive": alive, "checkpoints": saved_run.checkpoint_steps(workdir)}
    del status["marks"]
    status["verdict"] = _verdict(workdir)._asdict()
    local = status["host"] == socket.gethostname()
    status["alive"] = True if alive else False if local else None
    status["age_seconds"] = max(0.0, time.time() - status["updated_unix"])
    return status


def _verdict(workdir: pathlib.Path) -> verdict.Verdict:
    rows, _ = jsonl.read(workdir / "metrics.jsonl")
    tree, _ = saved_run.with_defaults(saved_run.saved_config(workdir) or {})
    return verdict.judge([row for row in rows if isinstance(row.get("step"), int)], records.flatten(tree))
