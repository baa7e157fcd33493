"""Train the encoder and a new classifier on a fraction of the labels (semi-supervised protocol)."""

from barlow_jax.cli.command import Command
from barlow_jax.commands import knn

COMMAND = Command(
    examples=("finetune --workdir runs/digits --config.finetune.label_fractions=0.1",),
    encoder=True,
    config_groups=("finetune",),
    baselines=("untrained",),
)
run = knn.run
