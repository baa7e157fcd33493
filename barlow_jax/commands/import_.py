"""Import released weights (timm, torchvision, Hugging Face, official): an encoder, or the start of a run."""

import argparse
from typing import Any

from barlow_jax.cli import flags
from barlow_jax.cli.command import Command
from barlow_jax.config.schema import Config
from barlow_jax.io.paths import Path

COMMAND = Command(
    examples=("import --weights resnet50.pth --config imagenet --workdir runs/imported",),
    checks="config",
    single_process=True,
    trains=True,
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the file of weights, and what to make of it."""
    parser.add_argument(
        "--weights",
        type=flags.path,
        metavar="FILE",
        help="file of timm, torchvision, Hugging Face or an original repository: .safetensors; .pth, .pt or "
        ".pth.tar if torch is installed; required",
    )
    parser.add_argument(
        "--as",
        dest="form",
        choices=("encoder", "start"),
        help="encoder: an encoder for the evaluations and export; start: a run at step 0, from which "
        "pretrain resumes; default: start if the file has a projector, else encoder",
    )
    parser.add_argument(
        "--without-projector",
        action="store_true",
        help="with --as start: ignore the file's projector and initialize the config's",
    )


def check(args: argparse.Namespace, config: Config | None) -> list[str]:
    """Return whether the weights are missing."""
    return [] if args.weights else ["--weights is missing. Pass the file to import."]


def run(config: Config, workdir: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Write the encoder folder or the run; return what was taken from the file."""
    from barlow_jax.experiment import importing

    path, projector = Path(args.weights), not args.without_projector
    return importing.import_weights(config, path, workdir, form=args.form, projector=projector)
