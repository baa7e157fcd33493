"""Classify by the nearest neighbors of the frozen encoder's features (weighted cosine and Euclidean k-NN)."""

import argparse
import pathlib
from typing import Any

from barlow_jax.cli.command import Command
from barlow_jax.config.schema import Config

COMMAND = Command(
    examples=("knn --workdir runs/digits", "knn --workdir runs/digits --pixels"),
    encoder=True,
    config_groups=("knn",),
    baselines=("untrained", "pixels"),
)


def run(config: Config, workdir: pathlib.Path, args: argparse.Namespace) -> dict[str, Any]:
    """Return the scores of weighted cosine and uniform Euclidean k-NN."""
    from barlow_jax.experiment import evaluations

    return evaluations.measure_frozen("knn", config, workdir, args.encoder, args.feature_source)
