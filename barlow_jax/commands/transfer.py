"""Train linear classifiers or SVMs on other data sets, with the encoder frozen."""

import argparse
import dataclasses
import pathlib
from typing import Any

from barlow_jax.cli.command import Command
from barlow_jax.config.schema import Config
from barlow_jax.errors import UserError
from barlow_jax.evals.features import Encode
from barlow_jax.evals.transfer import missing_data, transfer, transfer_config
from barlow_jax.experiment import encoders
from barlow_jax.experiment.experiment import Experiment, decode_failure_counts
from barlow_jax.io import log
from barlow_jax.papers.scores import Evaluation, Score

COMMAND = Command(
    examples=("transfer --workdir runs/imagenet --only voc07",),
    encoder=True,
    baselines=("untrained", "pixels"),
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
    names = args.only.split(",") if args.only else available(config)
    if unknown := [name for name in names if name not in config.transfer]:
        keys = ", ".join(config.transfer)
        raise UserError(f"--only {args.only}: config.transfer has no {unknown[0]!r}; it has {keys}")
    if not names:
        reasons = filter(None, (missing_data(n, t) for n, t in config.transfer.items()))
        raise UserError(f"no data set of config.transfer can be read: {'; '.join(reasons)}")
    experiment = Experiment.of(config)
    encode, step = experiment.encoder(encoders.place(workdir, args), args.features)
    scores, details = measure(experiment, encode, names)
    return Evaluation(args.features, step, tuple(scores)).to_json() | details


def available(config: Config) -> list[str]:
    """Return the keys of `config.transfer` whose data sets can be read."""
    return [name for name, settings in config.transfer.items() if not missing_data(name, settings)]


def measure(experiment: Experiment, encode: Encode, names: list[str]) -> tuple[list[Score], dict[str, Any]]:
    """Return the scores on the named data sets, and {"transfer": details by name} where there are any."""
    config, scores, details = experiment.config, [], {}
    for name in names:
        its_config = transfer_config(config, config.transfer[name])
        train, test = dataclasses.replace(experiment, config=its_config).tables(encode)
        measured, more = transfer(name, config, experiment.layout, encode, train, test)
        scores += measured
        log.info(f"{name}: {', '.join(f'{score.metric} {score.value}' for score in measured)}")
        if more := more | decode_failure_counts(train.decode_failures, test.decode_failures):
            details[name] = more
    return scores, {"transfer": details} if details else {}
