"""Train the encoder and a new classifier on a fraction of the labels (semi-supervised protocol)."""

import argparse
import pathlib
from typing import Any

from barlow_jax.cli.command import Command
from barlow_jax.config.schema import Config
from barlow_jax.papers.scores import Evaluation

COMMAND = Command(
    examples=("finetune --workdir runs/digits --config.finetune.label_fractions=0.1",),
    encoder=True,
    config_groups=("finetune",),
    baselines=("untrained",),
)


def run(config: Config, workdir: pathlib.Path, args: argparse.Namespace) -> dict[str, Any]:
    """Return the scores of fine-tuning by label fraction."""
    from barlow_jax.experiment import encoders
    from barlow_jax.experiment.evaluations import finetune_scores
    from barlow_jax.experiment.experiment import Experiment

    encoder = Experiment.of(config).encoder_state(encoders.encoder_path(workdir, args), args.feature_source)
    scores, counts = finetune_scores(config, encoder)
    return Evaluation(args.feature_source, encoder.step, tuple(scores)).to_json() | counts
