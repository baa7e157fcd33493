"""Measure the train step, the loss, the input pipeline, the augmentation on devices, or checkpoints."""

import argparse
import importlib
from typing import Any

from barlow_jax.cli import flags
from barlow_jax.cli.command import Command
from barlow_jax.config.schema import Config
from barlow_jax.io.paths import Path

COMMAND = Command(
    examples=(
        "bench step --config cifar10 --workdir runs/bench",
        "bench loss --rows 256,1024 --widths 2048,8192",
        "bench input --config digits",
        "bench augment --topology v5e:2x2",
        "bench checkpoint --state-mb 400 --step-seconds 0.5 --workdir gs://bucket/bench",
    ),
    workdir="optional",
    single_process=True,
    variants=("benchmark",),
    default_config=lambda args: args.benchmark != "input",
)

# Benchmarks that read a flag, and its default
_FLAGS = {
    "against": ("step", None),
    "topology": ("loss augment", None),
    "rows": ("loss", "256,1024"),
    "widths": ("loss", "1024,2048,4096,8192"),
    "images": ("input", 250),
    "state_mb": ("checkpoint", 400.0),
    "step_seconds": ("checkpoint", None),
}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the benchmark and the flags of each."""
    parser.add_argument(
        "benchmark",
        choices=("step", "loss", "input", "augment", "checkpoint"),
        help="step: time, throughput, utilization, memory and kernels of the train step on this machine's "
        "devices; loss: time, memory and collectives of each form of the loss; input: speed of the input "
        "pipeline by stage; augment: speed of the augmentation on devices; checkpoint: seconds to save, "
        "restore and verify",
    )
    parser.add_argument_group("bench step").add_argument(
        "--against",
        choices=("plan",),
        help="also estimate the step as `plan` does for these devices, and compare; not on CPUs",
    )
    flags.add_topology(
        parser.add_argument_group("bench loss, bench augment"),
        "default: measure on the devices of this machine",
    )
    loss = parser.add_argument_group("bench loss")
    for flag, sizes in (("--rows", "batch sizes N"), ("--widths", "embedding widths D")):
        loss.add_argument(flag, metavar="LIST", help=f"{sizes}, separated by commas; default: %(default)s")
    parser.add_argument_group("bench input").add_argument(
        "--images",
        type=int,
        metavar="N",
        help="images to time, each three times; 50 or more; default: %(default)s",
    )
    checkpoint = parser.add_argument_group("bench checkpoint")
    checkpoint.add_argument(
        "--state-mb",
        type=flags.number(float, min=0),
        metavar="MB",
        help="size of the train state in megabytes; 0: the state of the config; default: %(default)s",
    )
    checkpoint.add_argument(
        "--step-seconds",
        type=flags.number(float, above=0),
        metavar="S",
        help="seconds per train step; reports the fraction of time that saving takes; default: not reported",
    )
    parser.set_defaults(**{name: default for name, (_, default) in _FLAGS.items()})


def check(args: argparse.Namespace, config: Config | None) -> list[str]:
    """Return one sentence per flag that the benchmark does not read."""
    return [
        f"--{name.replace('_', '-')} has no effect on bench {args.benchmark}, only on bench "
        f"{' and '.join(readers.split())}. Leave it out."
        for name, (readers, default) in _FLAGS.items()
        if args.benchmark not in readers.split() and getattr(args, name) != default
    ]


def run(config: Config, workdir: Path | None, args: argparse.Namespace) -> dict[str, Any]:
    """Run the benchmark and return its results; only its own module is imported."""
    module = importlib.import_module(f"barlow_jax.commands.benchmarks.{args.benchmark}")
    return module.run(config, workdir, args)
