"""Pretrain an encoder without labels; resumes from the newest checkpoint of the workdir."""

import argparse
from typing import Any

from barlow_jax.cli.command import Command
from barlow_jax.config.schema import Config
from barlow_jax.io import log
from barlow_jax.io.paths import Path
from barlow_jax.workdir import saved_run

COMMAND = Command(
    examples=(
        "pretrain --config digits --workdir runs/digits",
        "pretrain --images photos --workdir runs/mine --hours 2",
        "pretrain --workdir runs/digits    # resumes",
        "pretrain --workdir runs/digits --extend --config.train.num_epochs=200",
    ),
    images=True,
    trains=True,
    config_groups=("train", "optim", "checkpoint", "monitor"),
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add --resume and --extend."""
    parser.add_argument(
        "--resume",
        choices=("auto", "never", "must"),
        default="auto",
        help="auto: resume from the newest intact checkpoint if there is one; never: refuse a workdir with a "
        "checkpoint; must: refuse a workdir without one; default: %(default)s",
    )
    parser.add_argument(
        "--extend",
        action="store_true",
        help="continue the run with other images, train.num_epochs, train.batch_size, learning rate or other "
        "settings of the optimizer; the learning rate is that of the new config at the epoch reached "
        "(docs/fault_tolerance.md)",
    )


def check(args: argparse.Namespace, config: Config | None) -> list[str]:
    """Return what keeps the run from starting in this workdir."""
    if config is None or not args.workdir:
        return []
    return saved_run.differences(args.workdir, config, extend=args.extend) + saved_run.resume_problems(
        args.workdir, args.resume
    )


def run(config: Config, workdir: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Train until the schedule's last step."""
    # It imports jax, which --help and a wrong command line do without.
    from barlow_jax.experiment import dry_run
    from barlow_jax.experiment.pretraining import pretrain

    log.info(dry_run.headline(dry_run.describe(config, args.num_images, workdir)))
    return pretrain(config, workdir, extend=args.extend)
