"""Run probe, knn, finetune and transfer, with baselines and the papers' numbers, in one table."""

import argparse
from typing import Any

from barlow_jax.cli.command import Command
from barlow_jax.config.schema import Config
from barlow_jax.io.paths import Path

COMMAND = Command(examples=("evaluate --workdir runs/digits",), encoder=True)


def run(config: Config, workdir: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Return the evaluations of pixels and of the encoder before and after training."""
    from barlow_jax.experiment.full_evaluation import evaluate

    return evaluate(config, workdir, Path(args.encoder or workdir))
