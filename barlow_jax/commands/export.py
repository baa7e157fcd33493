"""Write the encoder of a run in the format of another tool, such as orbax, torchvision, timm or onnx."""

import argparse
from typing import Any

from barlow_jax.cli import flags
from barlow_jax.cli.command import Command
from barlow_jax.config.schema import Config
from barlow_jax.errors import UserError
from barlow_jax.interop import formats
from barlow_jax.io.paths import Path

COMMAND = Command(
    examples=(
        "export --workdir runs/digits --format torchvision --out exported",
        "export --encoder resnet50.safetensors --format jax --out exported",
    ),
    checks="config",
    workdir="optional",
    single_process=True,
    encoder=True,
    variants=("format",),
    default_config=lambda args: args.encoder and not args.workdir,
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the format, the folder to write, the checkpoint and the license."""
    parser.add_argument("--format", choices=tuple(formats.FORMATS), help="format of the files; required")
    parser.add_argument(
        "--out", type=flags.path, metavar="DIR", help="folder to write, new or empty; required"
    )
    parser.add_argument(
        "--checkpoint",
        metavar="STEP",
        default="newest",
        help="newest: the newest intact checkpoint; best: the best one by config.monitor.select_by in "
        "metrics.jsonl; or a step; default: %(default)s",
    )
    parser.add_argument(
        "--license",
        default="other",
        help="license of the weights, for the model card, as the Hugging Face Hub spells it (mit, "
        "cc-by-nc-4.0); default: %(default)s",
    )


def check(args: argparse.Namespace, config: Config | None) -> list[str]:
    """Return what is wrong with the format, the folder or the checkpoint."""
    return formats.problems(args.format, args.out, args.checkpoint)


def run(config: Config, workdir: Path | None, args: argparse.Namespace) -> dict[str, Any]:
    """Write the folder --out; return its files and the entries of the format."""
    import jax

    from barlow_jax.experiment import exporting

    jax.config.update("jax_platforms", "cpu")  # the accelerators may be in use by the run
    if workdir is None and not args.encoder:
        raise UserError("--workdir is missing. Pass the run to export, or --encoder")
    path, out = Path(args.encoder or workdir), Path(args.out)
    return exporting.export(
        config, path, out, format=args.format, checkpoint=args.checkpoint, license=args.license
    )
