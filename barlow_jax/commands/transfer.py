"""Train linear classifiers or SVMs on other data sets, with the encoder frozen."""

import argparse

from barlow_jax.cli.command import Command
from barlow_jax.commands import knn

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


run = knn.run
