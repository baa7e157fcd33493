"""Train a linear classifier on the features of the frozen encoder (linear probe)."""

import argparse
import pathlib
from typing import Any

from barlow_jax.cli.command import Command
from barlow_jax.config.schema import Config
from barlow_jax.papers.scores import Evaluation

COMMAND = Command(
    examples=("probe --workdir runs/digits", "probe --workdir runs/digits --untrained"),
    encoder=True,
    config_groups=("probe",),
    baselines=("untrained", "pixels"),
)


def run(config: Config, workdir: pathlib.Path, args: argparse.Namespace) -> dict[str, Any]:
    """Return the probe's scores."""
    from barlow_jax.evals.features import decode_failure_counts
    from barlow_jax.evals.linear_probe import probe
    from barlow_jax.experiment import encoders
    from barlow_jax.experiment.experiment import Experiment

    experiment = Experiment.of(config)
    encode, step = experiment.encoder(encoders.encoder_path(workdir, args), args.feature_source)
    train, test = experiment.feature_tables(encode)
    scores = probe(config, experiment.layout, encode, train, test)
    results = Evaluation(args.feature_source, step, tuple(scores)).to_json()
    return results | decode_failure_counts(train.decode_failures, test.decode_failures)
