"""Continue pretraining a released encoder on other images, and keep the original if it is not improved."""

import argparse
from typing import Any

from barlow_jax.cli import flags
from barlow_jax.cli.command import Command
from barlow_jax.config.schema import Config
from barlow_jax.io.paths import Path
from barlow_jax.workdir import saved_run

COMMAND = Command(
    examples=(
        "adapt --weights resnet50.safetensors --images photos --workdir runs/adapted --hours 2",
        "adapt --workdir runs/adapted    # resumes",
    ),
    images=True,
    trains=True,
    config_groups=("adapt", "train", "optim"),
    failure=("adapted", 4),
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the encoder to start from."""
    parser.add_argument(
        "--weights",
        dest="start",
        type=flags.path,
        metavar="PATH",
        help="encoder to start from: a file of weights (what `import` takes), an encoder folder, a run, or "
        "one of its checkpoints; required unless the workdir holds a run of this command",
    )


def check(args: argparse.Namespace, config: Config | None) -> list[str]:
    """Return what keeps the run from starting."""
    if config is None:
        return []
    problems = saved_run.differences(args.workdir, config) if args.workdir else []
    if not config.adapt.weights:
        problems.append("--weights is missing. Pass the encoder to start from.")
    return problems


def run(config: Config, workdir: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Train, and write the best encoder."""
    from barlow_jax.experiment.adapting import adapt

    return adapt(config, workdir)
