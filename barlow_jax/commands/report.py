"""Write an HTML report of one or more runs: health, quality, cost, and model inspection."""

import argparse
from typing import Any

from barlow_jax.cli import flags
from barlow_jax.cli.command import Command
from barlow_jax.config.schema import Config
from barlow_jax.io.paths import Path
from barlow_jax.workdir import lock

COMMAND = Command(
    examples=("report --workdir runs/digits", "report --workdir runs/a runs/b --out comparison.html"),
    checks="runs",
    workdir="several",
    single_process=True,
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the file to write, the price of a device, and --no-images."""
    parser.add_argument(
        "--out",
        type=flags.path,
        metavar="FILE",
        help=".html file to write; default: report.html in the (first) workdir",
    )
    parser.add_argument(
        "--device-hour-price",
        type=flags.number(float, min=0),
        metavar="PRICE",
        help="price of a TPU chip, GPU or CPU host per hour, in any currency; default: no price is shown",
    )
    parser.add_argument(
        "--no-images",
        dest="images",
        action="store_false",
        help="read files only, in seconds: leave out all that needs the data set and the checkpoints",
    )


def run(config: Config, workdir: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Report all of `args.workdirs`, by their own configs; only the model of the first is inspected."""
    import jax

    from barlow_jax.reporting.write_report import write_report

    if args.images and lock.holder(workdir):
        jax.config.update("jax_platforms", "cpu")  # the run is using the accelerators
    return write_report(
        [Path(path) for path in args.workdirs],
        args.out,
        device_hour_price=args.device_hour_price,
        images=args.images,
        overrides=args.overrides,
    )
