"""Write an HTML report of one or more runs: health, quality, cost, and model inspection."""

import argparse
from collections.abc import Sequence
import dataclasses
import pathlib
import time
from typing import Any

from barlow_jax.cli import flags
from barlow_jax.cli.command import Command
from barlow_jax.config import overrides
from barlow_jax.config.schema import Config, Mesh
from barlow_jax.errors import RunError, UserError
from barlow_jax.io import log
from barlow_jax.reporting import schema
from barlow_jax.workdir import lock, saved_run

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


def run(config: Config, workdir: pathlib.Path, args: argparse.Namespace) -> dict[str, Any]:
    """Report all of `args.workdirs`, by their own configs; only the model of the first is inspected.

    Returns:
      `out`, `bytes`, `runs` (names), `sections`, `snapshots` (inspected steps), `seconds`.
    """
    from barlow_jax.reporting import load_run, page

    started = time.monotonic()
    out = pathlib.Path(args.out) if args.out else workdir / "report.html"
    if out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--out: needs a file that ends in .html, got {out}")
    runs = [load_run.read_run(pathlib.Path(path)) for path in args.workdirs]
    inspection, reason = _inspect(workdir, args)
    written = page.write(
        runs, inspection, out, device_hour_price=args.device_hour_price, missing_reason=reason
    )
    log.info(f"report: {out} ({written['bytes'] / 1e6:.1f} MB)")
    return {
        "out": str(out),
        **{name: written[name] for name in ("bytes", "runs", "sections")},
        "snapshots": [snapshot.step for snapshot in inspection.snapshots] if inspection else [],
        "seconds": round(time.monotonic() - started, 1),
    }


def _inspect(
    workdir: pathlib.Path, args: argparse.Namespace
) -> tuple[schema.ModelInspection | None, str | None]:
    """Return the inspection; or None and the reason, which is also logged.

    Raises:
      UserError: an override is invalid.
    """
    import jax

    from barlow_jax.experiment.experiment import Experiment
    from barlow_jax.reporting.inspect_model import inspect_model

    if not args.images:
        return None, "Left out by --no-images."
    config = _config(workdir, args.overrides)
    if config is None:
        return None, "Not available: the run's config.json cannot be read."
    if lock.holder(workdir):
        jax.config.update("jax_platforms", "cpu")  # the run is using the accelerators
    try:
        return inspect_model(Experiment.from_config(config), workdir), None
    except (UserError, RunError, OSError) as error:
        log.warning(f"the report leaves out the model inspection: {error}")
        log.info("If the data set is in another folder, pass --config.data.data_dir=...")
        return None, f"Not available: {error}"


def _config(workdir: pathlib.Path, changes: Sequence[tuple[str, str]]) -> Config | None:
    """Return the run's config on this machine's mesh; None if it cannot be read, which `read_run` has logged.

    Raises:
      UserError: an override is invalid.
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
