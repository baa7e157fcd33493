"""Classify by the nearest neighbors of the frozen encoder's features (weighted cosine and Euclidean k-NN)."""

import argparse
from typing import Any

from barlow_jax.cli.command import Command
from barlow_jax.config.schema import Config
from barlow_jax.io.paths import Path

COMMAND = Command(
    examples=("knn --workdir runs/digits", "knn --workdir runs/digits --pixels"),
    encoder=True,
    config_groups=("knn",),
    baselines=("untrained", "pixels"),
)


def run(config: Config, workdir: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Return the scores of an evaluation of one encoder: also of probe, finetune and transfer."""
    from barlow_jax.experiment import evaluations

    path, only = Path(args.encoder or workdir), getattr(args, "only", None)
    only = only.split(",") if only else ()
    return evaluations.measure(args.command, config, workdir, path, args.feature_source, only)
