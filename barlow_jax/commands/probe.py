"""Train a linear classifier on the features of the frozen encoder (linear probe)."""

from barlow_jax.cli.command import Command
from barlow_jax.commands import knn

COMMAND = Command(
    examples=("probe --workdir runs/digits", "probe --workdir runs/digits --untrained"),
    encoder=True,
    config_groups=("probe",),
    baselines=("untrained", "pixels"),
)
run = knn.run
