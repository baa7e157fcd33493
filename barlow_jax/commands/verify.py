"""Verify every checkpoint of a run against its checksums and the network."""

import argparse
from typing import Any

from barlow_jax.cli.command import Command
from barlow_jax.config.schema import Config
from barlow_jax.errors import UserError
from barlow_jax.io import log
from barlow_jax.io.paths import Path

COMMAND = Command(
    examples=("verify --workdir runs/digits",), checks="types", single_process=True, failure=("intact", 1)
)


def run(config: Config, workdir: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Verify the checkpoints and return one row for each. Safe while the run is running.

    Returns:
      `checkpoints`; `newest_usable`, the newest step that is not damaged; and `intact`: whether every
      checkpoint has checksums, matches them and fits the network.
    """
    import jax

    from barlow_jax.checkpoints import verify
    from barlow_jax.checkpoints.restore import FOLDER, newest_step, open_checkpoints

    jax.config.update("jax_platforms", "cpu")  # the run needs the accelerators
    if newest_step(workdir) is None:
        raise UserError(f"--workdir {workdir} holds no checkpoint to verify.")
    abstract = _abstract(config, workdir)
    rows = []
    with open_checkpoints(workdir, read_only=True) as checkpoints:
        log.info(f"{'step':>10}  {'MB':>9}  verdict")
        for step in checkpoints.steps:
            folder = workdir / FOLDER / str(step)
            encoder_only = verify.is_encoder_only(folder)
            result = checkpoints.examine(step, _encoder_of(abstract) if encoder_only else abstract)
            verdict = "damaged" if result.problems else "intact" if result.verified else "unverified"
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            text = verdict if verdict == "intact" else f"{verdict}: {result.summary}"
            log.info(f"{step:>10}  {size / 1e6:>9.1f}  {text}{', encoder only' if encoder_only else ''}")
            row = {"step": step, "bytes": size, "holds": "encoder" if encoder_only else "run"}
            rows.append(row | {"verdict": verdict, "problems": list(result.problems)})
    usable = [row["step"] for row in rows if row["verdict"] != "damaged"]
    return {
        "intact": all(row["verdict"] == "intact" for row in rows),
        "newest_usable": max(usable, default=None),
        "checkpoints": rows,
    }


def _abstract(config: Config, workdir: Path) -> dict[str, Any]:
    """Return shapes and dtypes of the run's state, which do not depend on the mesh."""
    from barlow_jax.checkpoints.restore import abstract_state
    from barlow_jax.data.sampler import EpochSampler
    from barlow_jax.experiment.experiment import Experiment
    from barlow_jax.workdir import provenance

    data = provenance.recorded_data(workdir).get(config.data.train_split, {})
    sampler = EpochSampler(config.seed, data.get("images", config.train.batch_size), config.train.batch_size)
    init = Experiment.on_one_device(config).init(sampler)
    return abstract_state(init).nonempty_fields()


def _encoder_of(abstract: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a run's state that an encoder folder holds."""
    parts = {name: abstract.get(name, {}) for name in ("params", "batch_stats")}
    return {name: {"encoder": part["encoder"]} for name, part in parts.items() if "encoder" in part}
