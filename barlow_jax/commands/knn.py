"""Classify by the nearest neighbors of the frozen encoder's features (weighted cosine and Euclidean k-NN)."""

import argparse
import pathlib
from typing import Any

from barlow_jax.cli.command import Command
from barlow_jax.config.schema import Config
from barlow_jax.papers.scores import Evaluation

COMMAND = Command(
    examples=("knn --workdir runs/digits", "knn --workdir runs/digits --pixels"),
    encoder=True,
    config_groups=("knn",),
    baselines=("untrained", "pixels"),
)


def run(config: Config, workdir: pathlib.Path, args: argparse.Namespace) -> dict[str, Any]:
    """Return the scores of weighted cosine and uniform Euclidean k-NN."""
    from barlow_jax.evals.features import decode_failure_counts
    from barlow_jax.evals.knn import knn
    from barlow_jax.experiment import encoders
    from barlow_jax.experiment.experiment import Experiment

    experiment = Experiment.of(config)
    encode, step = experiment.encoder(encoders.encoder_path(workdir, args), args.feature_source)
    train, test = experiment.feature_tables(encode)
    results = Evaluation(args.feature_source, step, tuple(knn(config, train, test))).to_json()
    return results | decode_failure_counts(train.decode_failures, test.decode_failures)
