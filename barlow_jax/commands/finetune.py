"""Train the encoder and a new classifier on a fraction of the labels (semi-supervised protocol)."""

import argparse
import pathlib
from typing import Any

from barlow_jax.cli.command import Command
from barlow_jax.config.schema import Config

COMMAND = Command(
    examples=("finetune --workdir runs/digits --config.finetune.label_fractions=0.1",),
    encoder=True,
    config_groups=("finetune",),
    baselines=("untrained",),
)


def run(config: Config, workdir: pathlib.Path, args: argparse.Namespace) -> dict[str, Any]:
    """Return the scores of fine-tuning by label fraction."""
    from barlow_jax.experiment import evaluations

    return evaluations.measure_finetuned(config, workdir, args.encoder, args.feature_source)
