"""Write one HTML file about one or more runs: health, results, cost, and what the network sees."""

import argparse
from collections.abc import Sequence
import dataclasses
import pathlib
import sys
import time
from typing import Any

import jax

from barlow_jax.cli import flags
from barlow_jax.cli.command import Command
from barlow_jax.config import overrides
from barlow_jax.config.schema import Config, Mesh
from barlow_jax.errors import RunError, UserError
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.report import load_run, page, schema
from barlow_jax.report.inspect_model import inspect_model
from barlow_jax.workdir import lock, saved_run

COMMAND = Command(
    examples=("report --workdir runs/digits", "report --workdir runs/a runs/b --out comparison.html"),
    checks="runs",
    workdir="several",
    single_process=True,
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the file to write, the price of a chip, and --no-images."""
    parser.add_argument(
        "--out",
        type=flags.path,
        metavar="FILE",
        help=".html file to write; default: report.html in the (first) workdir",
    )
    parser.add_argument(
        "--chip-hour-price",
        type=float,
        metavar="PRICE",
        help="price of one chip for one hour, in any currency; default: no cost is shown",
    )
    parser.add_argument(
        "--no-images",
        dest="images",
        action="store_false",
        help="read files only, in seconds: leave out all that needs the data set and the checkpoints",
    )


def run(config: Config, workdir: pathlib.Path, args: argparse.Namespace) -> dict[str, Any]:
    """Of all of `args.workdirs`; the network that is looked at is the first one's.

    Returns:
      `out`, `bytes`, `runs` by name, `sections`, `snapshots` (the steps at which the network was looked at), `seconds`.
    """
    del config  # the runs have their own
    started = time.monotonic()
    out = pathlib.Path(args.out) if args.out else workdir / "report.html"
    if out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--out: needs a file that ends in .html, got {out}")
    if args.chip_hour_price is not None and not args.chip_hour_price >= 0:
        raise UserError(f"--chip-hour-price: must not be negative, got {args.chip_hour_price}")
    read = [load_run.read_run(pathlib.Path(place)) for place in args.workdirs]
    seen, why_not = _look(workdir, args) if args.images else (None, "Left out by --no-images.")
    written = page.write(read, seen, out, chip_hour_price=args.chip_hour_price, why_not=why_not)
    print(f"the report is {out} ({written['bytes'] / 1e6:.1f} MB)", file=sys.stderr)
    return {
        "out": str(out),
        **{name: written[name] for name in ("bytes", "runs", "sections")},
        "snapshots": [snapshot.step for snapshot in seen.snapshots] if seen else [],
        "seconds": round(time.monotonic() - started, 1),
    }


def _look(
    workdir: pathlib.Path, args: argparse.Namespace
) -> tuple[schema.ModelInspection | None, str | None]:
    """None and why, which is also said here, where the run's data set or its checkpoints are not at hand.

    Raises:
      UserError: an override is wrong.
    """
    config = _config(workdir, args.overrides)
    if config is None:
        return None, "The run's config.json cannot be read: its network could not be looked at."
    if lock.holder(workdir):
        jax.config.update("jax_platforms", "cpu")  # the accelerators are the run's
    try:
        return inspect_model(Experiment.of(config), workdir), None
    except (UserError, RunError, OSError) as error:
        print(
            f"warning: {error}\nwarning: what the network makes of images is left out of the report; where the data "
            "set lies elsewhere, --config.data.data_dir=... helps",
            file=sys.stderr,
        )
        return None, f"The network could not be looked at: {error}"


def _config(workdir: pathlib.Path, changes: Sequence[tuple[str, str]]) -> Config | None:
    """The run's, on the mesh of this machine; None where it cannot be read, which is said already.

    Raises:
      UserError: an override is wrong.
    """
    try:
        saved = saved_run.saved_config(workdir)
    except UserError:
        return None
    if saved is None:
        return None
    tree, _ = saved_run.with_defaults(saved)
    if problems := overrides.apply_overrides(tree, changes):
        raise UserError(problems[0])
    config, _ = overrides.from_tree(tree)
    return dataclasses.replace(config, mesh=Mesh())
