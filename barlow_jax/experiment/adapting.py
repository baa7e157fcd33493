"""Continued pretraining of an encoder on other images, which never returns a worse one."""

import dataclasses
from typing import Any

import jax

from barlow_jax.checkpoints.restore import open_checkpoints
from barlow_jax.config.schema import Config
from barlow_jax.config.training import Adapt
from barlow_jax.errors import UserError
from barlow_jax.experiment import candidates
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.experiment.pretraining import pretrain
from barlow_jax.interop import export_orbax
from barlow_jax.interop.encoder import TrainedEncoder
from barlow_jax.io import jsonl, log
from barlow_jax.io.paths import Path
from barlow_jax.workdir import provenance, saved_run, selection


def adapt(config: Config, workdir: Path) -> dict[str, Any]:
    """Train a run from `config.adapt.weights`, and write the best encoder to `WORKDIR/adapted-STEPS`.

    That is the candidate with the largest lower bound of its gain if that is above 0, else the original.

    Returns:
      The results of `pretrain`; `adapted`, whether the encoder is a candidate; `folder`, where it is; and
      `best`, the metrics of the best candidate, None if none was measured.
    """
    if config.network.branches != "shared":
        raise UserError("config.network.branches is own, but adapt has one encoder. Set it to shared.")
    results, kept = pretrain(config, workdir), saved_run.checkpoint_steps(workdir)
    rows = [row for row in jsonl.read(workdir / "metrics.jsonl")[0] if row["step"] in kept]
    rows = [row for row in rows if row.get(selection.ADAPTED) is not None]
    best = max(rows, key=lambda row: row[selection.ADAPTED], default=None)
    adapted = best is not None and best[selection.ADAPTED] > 0
    out = workdir / f"adapted-{results['step']}"
    if saved_run.saved_config(out) is None:
        _write(config, workdir, out, best if adapted else None)
    found = "no candidate was measured"
    if best:
        found = f"the best candidate, of step {best['step']}, gains {candidates.describe(best)}"
    log.info(f"{'the adapted encoder is better' if adapted else 'kept the original'}: {found}; {out}")
    return results | {"adapted": adapted, "folder": str(out), "best": best}


def _write(config: Config, workdir: Path, out: Path, best: dict[str, Any] | None) -> None:
    """Write the encoder folder of the best candidate, or of the original encoder if there is none."""
    experiment = Experiment.from_config(config)
    start = candidates.read_start(experiment, workdir)
    trees, step = start[:2], start.step
    if best:
        step, averaged, shapes = best["step"], bool(best["adapt_averaged"]), jax.eval_shape(lambda: trees)
        with open_checkpoints(workdir, read_only=True) as checkpoints:
            end = checkpoints.restore_part(*shapes, experiment.layout, step, average=averaged)
        trees = candidates.Candidate(averaged, best["adapt_alpha"]).encoder(start, end)
    train = dataclasses.replace(config.train, average_decay=0.0)
    config = dataclasses.replace(config, adapt=Adapt(), train=train)
    export_orbax.write(TrainedEncoder(config, *trees, step, provenance.read(workdir)), out)
