"""Train linear classifiers or SVMs on other data sets, with the encoder frozen."""

import argparse
import pathlib
from typing import Any

from barlow_jax.cli.command import Command
from barlow_jax.config.schema import Config
from barlow_jax.errors import UserError

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
    """Return the scores on the data sets of --only, or on all that can be read.

    TFDS prepares the data sets of --only where it can.
    """
    from barlow_jax.evals.transfer import missing_data
    from barlow_jax.experiment import encoders, evaluations
    from barlow_jax.experiment.experiment import Experiment

    names = args.only.split(",") if args.only else evaluations.available_transfers(config)
    if unknown := [name for name in names if name not in config.transfer]:
        keys = ", ".join(config.transfer)
        raise UserError(f"--only {args.only}: config.transfer has no {unknown[0]!r}; it has {keys}")
    if not names:
        reasons = filter(None, (missing_data(n, t) for n, t in config.transfer.items()))
        raise UserError(f"no data set of config.transfer can be read: {'; '.join(reasons)}")
    data_sets = evaluations.open_transfers(config, names)
    experiment, path = Experiment.from_config(config), encoders.encoder_path(workdir, args)
    encode, step = experiment.encoder(path, args.feature_source)
    scores, details = evaluations.transfer_scores(experiment, encode, data_sets)
    about = evaluations.about(config, workdir, path, [])
    return evaluations.results(args.feature_source, step, scores) | about | details
