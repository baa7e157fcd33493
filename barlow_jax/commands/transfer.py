"""Train linear classifiers or SVMs on other data sets, with the encoder frozen."""

import argparse
import pathlib
from typing import Any

from barlow_jax.cli.command import Command
from barlow_jax.config.schema import Config

COMMAND = Command(
    examples=("transfer --workdir runs/imagenet --only voc07",),
    encoder=True,
    baselines=("untrained", "pixels"),
    variants=("only", "feature_source"),
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add --only."""
    parser.add_argument(
        "--only",
        metavar="NAMES",
        help="keys of config.transfer, separated by commas; default: all whose data set is available",
    )


def run(config: Config, workdir: pathlib.Path, args: argparse.Namespace) -> dict[str, Any]:
    """Return the scores on the data sets of --only, or on all that can be read."""
    from barlow_jax.experiment import evaluations

    return evaluations.measure_transfer(
        config, workdir, args.encoder, args.feature_source, only=args.only and args.only.split(",")
    )
