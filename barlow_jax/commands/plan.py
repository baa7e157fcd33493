"""Compile the train step for a TPU topology or this machine; report memory, traffic and predicted time."""

import argparse
from collections.abc import Iterator
from typing import Any

from barlow_jax.cli import flags
from barlow_jax.cli.command import Command
from barlow_jax.config import overrides
from barlow_jax.config.schema import Config
from barlow_jax.config.validation import Facts, validate
from barlow_jax.errors import UserError
from barlow_jax.io import log
from barlow_jax.io.paths import Path
from barlow_jax.planning.formatting import format_bytes, format_ms
from barlow_jax.planning.tpu import Topology

COMMAND = Command(
    examples=(
        "plan --config imagenet --topology v5e:8x8",
        "plan --config imagenet --sweep v5e:4x4,v5e:8x8 --images-per-chip 32",
        "plan --config imagenet --topology v5e:8x8 --sweep train.batch_size=2048,4096",
    ),
    workdir="optional",
    single_process=True,
    failure=("fits", 3),
)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add what to compile, and for which chips."""
    flags.add_topology(parser, "default: the accelerators of this machine")
    parser.add_argument(
        "--part",
        choices=("step", "head", "loss"),
        default="step",
        help="step: the whole train step; head: from representations to the optimizer update; loss: the loss "
        "alone (compiles in seconds); default: %(default)s",
    )
    parser.add_argument(
        "--sweep",
        metavar="LIST",
        help="compare topologies (v5e:4x4,v5e:8x8) or values of a config key (train.batch_size=2048,4096) in "
        "one table",
    )
    parser.add_argument(
        "--images-per-chip",
        type=flags.number(int, min=1),
        metavar="N",
        help="set the batch size to N times the number of chips; default: config.train.batch_size",
    )


def check(args: argparse.Namespace, config: Config | None) -> list[str]:
    """Return a problem if there is nothing to compile for."""
    try:
        if not (args.topology or args.sweep):
            Topology.local()
    except UserError as error:
        return [f"--topology is missing. Pass the chips to compile for, such as v5e:8x8; {error}."]
    return []


def run(config: Config, workdir: Path | None, args: argparse.Namespace) -> dict[str, Any]:
    """Return one cost estimate, or one per case of --sweep; `fits` is False if none fits into memory."""
    from barlow_jax.experiment.cost_estimate import format_plan, plan

    cases = list(_cases(config, args))
    if not args.sweep:
        ((_, case, topology),) = cases
        result = plan(case, topology, args.part)
        log.info("\n".join(format_plan(result)))
        return result
    rows: list[dict[str, Any]] = []
    log.info("  ".join(f"{name:>{width}}" for name, width, _ in _COLUMNS))
    for label, case, topology in cases:
        rows.append({"case": label, **plan(case, topology, args.part)})
        log.info(_row(rows[-1]))
    return {"fits": any(row["fits"] for row in rows), "rows": rows}


def _cases(config: Config, args: argparse.Namespace) -> Iterator[tuple[str, Config, Topology]]:
    """Yield label, config and topology of each case: topologies, or values of one key on --topology."""
    key, equals, values = (args.sweep or args.topology or "").partition("=")
    if equals and not args.topology:
        raise UserError(f"--sweep {args.sweep}: needs a --topology.")
    for value in (values if equals else key).split(","):
        name = args.topology if equals else value
        topology = Topology.parse(name) if name else Topology.local()
        changes = [(key.removeprefix("config."), value)] if equals else []
        if args.images_per_chip:
            changes.append(("train.batch_size", str(args.images_per_chip * topology.num_chips)))
        tree = overrides.to_config_dict(config).to_dict()
        problems = overrides.apply_overrides(tree, changes)
        case, more = overrides.from_tree(tree)
        if problems := [*problems, *more, *validate(case, Facts(topology.num_chips))]:
            raise UserError(f"{value or topology.name}: {problems[0]}")
        yield value, case, topology


_COLUMNS = (
    ("", 12, lambda r: r["case"]),
    ("batch", 6, lambda r: r["batch_size"]),
    ("projector", 10, lambda r: r["projector"]),
    ("loss", 6, lambda r: r["form"] or "-"),
    ("peak", 9, lambda r: format_bytes(r["peak_bytes"])),
    ("compute", 9, lambda r: format_ms(r["compute_s"])),
    ("HBM", 9, lambda r: format_ms(r["memory_s"])),
    ("wire", 9, lambda r: format_ms(r["interconnect_s"])),
    ("step", 9, lambda r: format_ms(r["step_s"])),
    ("serial", 9, lambda r: format_ms(r["serial_step_s"])),
    ("images/s", 9, lambda r: f"{r['images_per_second']:.0f}"),
    ("chip-hours", 10, lambda r: f"{r['chip_hours']:.0f}" if r["chip_hours"] else "-"),
)


def _row(result: dict[str, Any]) -> str:
    shown = _COLUMNS if result["fits"] else _COLUMNS[:4]
    cells = [f"{cell(result):>{width}}" for _, width, cell in shown]
    return "  ".join(cells if result["fits"] else [*cells, f"does not fit: {result['reason']}"])
