"""Verify every checkpoint of a run against its checksums and the network."""

import argparse
from functools import partial
import pathlib
import sys
from typing import Any

import jax

from barlow_jax import objectives, optim
from barlow_jax.checkpoints import verify
from barlow_jax.checkpoints.restore import FOLDER, abstract_state, newest_step, open_checkpoints
from barlow_jax.cli.command import Command
from barlow_jax.config.schema import Config
from barlow_jax.errors import UserError
from barlow_jax.experiment.experiment import run_info
from barlow_jax.networks.network import Network
from barlow_jax.training.step import StepParts, init_state

COMMAND = Command(
    examples=("verify --workdir runs/digits",), checks="types", single_process=True, failure=("good", 1)
)


def run(config: Config, workdir: pathlib.Path, args: argparse.Namespace) -> dict[str, Any]:
    """One row a checkpoint; `good` is False unless every one of them has digests, matches them and fits the network."""
    del args
    jax.config.update("jax_platforms", "cpu")  # the accelerators are the run's
    if newest_step(workdir) is None:
        raise UserError(f"{workdir} holds no checkpoint to verify")
    abstract = _abstract(config)
    rows = []
    with open_checkpoints(workdir, read_only=True) as checkpoints:
        print(f"{'step':>10}  {'MB':>9}  verdict", file=sys.stderr)
        for step in checkpoints.steps:
            alone = verify.is_encoder_only(workdir / FOLDER / str(step))
            verdict = checkpoints.examine(step, _encoder_of(abstract) if alone else abstract)
            kind = "damaged" if verdict.problems else "good" if verdict.verified else "unverified"
            files = (path for path in (workdir / FOLDER / str(step)).rglob("*") if path.is_file())
            size = sum(path.stat().st_size for path in files)
            said = kind if kind == "good" else f"{kind}: {verdict.summary}"
            said += ", an encoder alone" if alone else ""
            print(f"{step:>10}  {size / 1e6:>9.1f}  {said}", file=sys.stderr, flush=True)
            rows.append(
                {
                    "step": step,
                    "bytes": size,
                    "holds": "encoder" if alone else "run",
                    "verdict": kind,
                    "problems": list(verdict.problems),
                }
            )
    usable = [row["step"] for row in rows if row["verdict"] != "damaged"]
    return {
        "good": all(row["verdict"] == "good" for row in rows),
        "newest_usable": max(usable, default=None),
        "checkpoints": rows,
    }


def _abstract(config: Config) -> dict[str, Any]:
    """Shapes and dtypes of the run's state, which are the same on every mesh and for any number of images."""
    optimizer = optim.make(config.optim, optim.learning_rates(config, steps_per_epoch=1))
    objective = objectives.make(config.objective, run_info(config))
    parts = StepParts(Network(config.network), objective, optimizer, normalize=dict)
    return abstract_state(partial(init_state, parts=parts)).parts()


def _encoder_of(abstract: dict[str, Any]) -> dict[str, Any]:
    """What an encoder folder holds of it."""
    parts = {name: abstract.get(name, {}) for name in ("params", "batch_stats")}
    return {name: {"encoder": part["encoder"]} for name, part in parts.items() if "encoder" in part}
