"""Train a linear classifier on the features of the frozen encoder (linear probe)."""

import argparse
import pathlib
from typing import Any

from barlow_jax.cli.command import Command
from barlow_jax.config.schema import Config

COMMAND = Command(
    examples=("probe --workdir runs/digits", "probe --workdir runs/digits --untrained"),
    encoder=True,
    config_groups=("probe",),
    baselines=("untrained", "pixels"),
)


def run(config: Config, workdir: pathlib.Path, args: argparse.Namespace) -> dict[str, Any]:
    """Return the probe's scores."""
    from barlow_jax.experiment import evaluations

    return evaluations.measure_frozen("probe", config, workdir, args.encoder, args.feature_source)
