"""Flags that commands share."""

import argparse
from collections.abc import Callable, Sequence
import os

from barlow_jax.cli.command import Command
from barlow_jax.config import shipped, values
from barlow_jax.config.fields import Spec
from barlow_jax.distributed import cluster
from barlow_jax.planning import chips

path = os.path.expanduser  # type of a flag that takes a path: `~` is the home directory


def number(kind: type, **bounds: float) -> Callable[[str], float]:
    """Return the type of a flag that takes a finite int or float; the bounds are those of `Spec`."""
    spec = Spec("", **bounds)

    def parse(text: str) -> float:
        if not spec.accepts(value := kind(text)):
            raise argparse.ArgumentTypeError(f"is {text}, but must be {values.describe(kind, spec)}")
        return value

    parse.__name__ = kind.__name__  # named in the message of text that is no number
    return parse


def add_shared(parser: argparse.ArgumentParser, command: Command) -> None:
    """Add the flags that follow from a command's declaration.

    The arguments of every command have `config`, `workdir`, `encoder`, `weights`, `features` and `dry_run`.
    """
    parser.set_defaults(config=None, feature_source="pretrained", encoder=None, weights=None, dry_run=False)
    parser.set_defaults(own_images=None, labels=None, hours=None, choices=[], start=None, start_settings={})
    if command.checks != "runs":
        parser.add_argument(
            "--config",
            type=path,
            metavar="CONFIG",
            help=f"a shipped config ({', '.join(shipped.shipped_configs())}) or a Python file, each with "
            "an argument if it takes one (vicreg:digits); default: config.json of the workdir",
        )
    help_text = "folder of the run, on a disk or in a bucket (gs://...): checkpoints, metrics and results"
    if command.workdir == "several":
        help_text += "; give several to compare runs"
    several = {"nargs": "+", "dest": "workdirs"} if command.workdir == "several" else {}
    if command.workdir != "none":
        parser.add_argument("--workdir", type=path, metavar="DIR", help=help_text, **several)
    if command.images:
        _add_images(parser)
    if command.encoder:
        parser.add_argument(
            "--encoder",
            type=path,
            metavar="PATH",
            help="encoder to use instead of the workdir's: workdir of another run, one of its checkpoints "
            "(RUN/checkpoints/STEP), an encoder folder, or a file of released weights (.safetensors; "
            ".pth if torch is installed)",
        )
    if command.baselines:
        _add_baselines(parser, command.baselines)
    if not command.single_process:
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="print the plan of the run"
            + ", with the memory of its compiled step" * command.trains
            + ", then exit",
        )
        parser.add_argument(
            "--verbose",
            action="store_true",
            help="with --dry-run: also print the resolved config and the parameters",
        )
        cluster.add_flags(parser)


def add_topology(parser: argparse.ArgumentParser, default: str) -> None:
    """Add --topology, the TPU chips to compile for; `default` describes what happens without it."""
    parser.add_argument(
        "--topology",
        metavar="NAME",
        help="TPU topology to compile for, GENERATION:AxB[xC][*SLICES]: v5e:8x8, v4:2x2x4, v5e:16x16*2 (two "
        f"slices); generations: {', '.join(chips.TPUS)}; {default}",
    )


def _add_images(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--images",
        type=path,
        dest="own_images",
        metavar="PATH",
        help="your images: a folder, list, table, tar shards or arrays (docs/own_images.md). Settings of "
        "--config images that you do not set are chosen for them and for the devices",
    )
    parser.add_argument(
        "--labels",
        metavar="PATH",
        help="with --images: .csv or .parquet table with labels, or folders; used only to measure",
    )
    parser.add_argument(
        "--hours",
        type=number(float, above=0),
        metavar="H",
        help="with --images: length of the run; default: 4000 steps on CPUs, 30 000 elsewhere, and "
        "at most 300 epochs",
    )


def _add_baselines(parser: argparse.ArgumentParser, baselines: Sequence[str]) -> None:
    helps = {
        "untrained": "use the features of the encoder before training (baseline)",
        "pixels": "use the pixels of the image as features, without an encoder (baseline)",
    }
    group = parser.add_mutually_exclusive_group()
    for name in baselines:
        group.add_argument(
            f"--{name}", dest="feature_source", action="store_const", const=name, help=helps[name]
        )
