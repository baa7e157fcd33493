"""Compile the train step for a TPU topology; report its memory, traffic and predicted step time."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
import functools
import math
import pathlib
from typing import TYPE_CHECKING, Any

from barlow_jax.cli import flags
from barlow_jax.cli.command import Command
from barlow_jax.config import overrides
from barlow_jax.config.schema import Config, Data
from barlow_jax.config.validation import Facts, validate
from barlow_jax.data import catalog
from barlow_jax.errors import UserError
from barlow_jax.io import log
from barlow_jax.planning.tpu import Topology

if TYPE_CHECKING:
    from barlow_jax.experiment.experiment import Experiment
    from barlow_jax.planning.roofline import Cost

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
    flags.add_topology(parser, "required unless --sweep lists topologies")
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
    if args.topology or args.sweep:
        return []
    return ["--topology is missing. Pass the chips to compile for, such as v5e:8x8."]


def run(config: Config, workdir: pathlib.Path | None, args: argparse.Namespace) -> dict[str, Any]:
    """Return one cost estimate, or one per case of --sweep; `fits` is False if none fits into memory."""
    cases = list(_cases(config, args))
    if not args.sweep:
        ((_, case, topology),) = cases
        result = plan(case, topology, args.part)
        log.info("\n".join(_lines(result)))
        return result
    rows: list[dict[str, Any]] = []
    log.info("  ".join(f"{name:>{width}}" for name, width, _ in _COLUMNS))
    for label, case, topology in cases:
        rows.append({"case": label, **plan(case, topology, args.part)})
        log.info(_row(rows[-1]))
    return {"fits": any(row["fits"] for row in rows), "rows": rows}


def plan(config: Config, topology: Topology, part: str) -> dict[str, Any]:
    """Estimate the cost of a config on a topology; bytes, flops and seconds are per chip and step."""
    from barlow_jax.experiment import lowering
    from barlow_jax.experiment.experiment import Experiment
    from barlow_jax.planning.roofline import DoesNotFit, compile_cost

    experiment = Experiment.from_config(config, topology.devices())
    num_images = _num_images(config.data)
    sampler = experiment.sampler(num_images or config.train.batch_size)
    lowered, state = lowering.lower(experiment, sampler, part)
    result: dict[str, Any] = {
        "topology": topology.name,
        "chips": topology.num_chips,
        "hosts": len({device.process_index for device in experiment.layout.mesh.devices.flat}),
        "part": part,
        "batch_size": config.train.batch_size,
        "projector": experiment.layout.projector,
        "form": _form(config, experiment),
        "hbm_capacity": topology.chip.hbm_bytes,
        "parameter_bytes": state and lowering.bytes_per_device(state.params),
        "optimizer_bytes": state and lowering.bytes_per_device(state.opt_state),
    }
    try:
        cost, _ = compile_cost(lowered)
    except DoesNotFit as error:
        remedies = _remedies(config, result, error.ratio)
        return result | {"fits": False, "reason": str(error), "remedies": remedies}
    steps = experiment.num_steps(sampler) if num_images and part == "step" else None
    return result | {"fits": True} | cost.summary() | _time_estimate(cost, topology, result, steps)


def _form(config: Config, experiment: Experiment) -> str | None:
    """Return the form of the loss; None if the loss does not read embeddings."""
    from barlow_jax.losses.correlation import resolve_form

    if not config.network.projector:
        return None
    shape = (config.train.batch_size, config.network.projector[-1])
    return resolve_form(config.objective.form, *shape, experiment.layout.reshard)


@functools.cache  # a folder of images is counted once, not for each row of a sweep
def _num_images(data: Data) -> int | None:
    """Return the number of training images; None if it is unknown before the data set is prepared."""
    return catalog.count_images(data, (data.train_split,))[0].get(data.train_split)


def _time_estimate(
    cost: Cost, topology: Topology, result: dict[str, Any], steps: int | None
) -> dict[str, Any]:
    from barlow_jax.planning.roofline import Roofline

    roofline = Roofline.from_cost(cost, topology)
    images_per_second = result["batch_size"] / roofline.step
    hours = steps * roofline.step / 3600 if steps else None
    return {
        **{f"{name}_s": getattr(roofline, name) for name in ("compute", "memory", "interconnect", "step")},
        "serial_step_s": roofline.serial,
        "bound": roofline.bound,
        "utilization": roofline.compute / roofline.step,
        "images_per_second": images_per_second,
        "pairs_per_second_and_host": images_per_second / result["hosts"],
        "steps": steps,
        "hours": hours,
        "chip_hours": hours and hours * topology.num_chips,
    }


def _remedies(config: Config, result: dict[str, Any], ratio: float) -> list[str]:
    """Return what to try, the cheapest first, if a program needs `ratio` times the memory of a chip."""
    remedies = []
    if result["form"] == "direct":
        remedies.append("--config.objective.form=gram, which builds no D x D matrix")
    if result["projector"] == "replicated" and result["chips"] > 1:
        remedies.append("--config.mesh.projector=sharded, which splits the projector over the chips")
    if result["part"] == "step":
        if not config.network.remat:
            remedies.append("--config.network.remat=true, which computes activations twice and keeps fewer")
        # Activations are most of the memory, but not all: aim a quarter lower.
        more = config.train.microbatches * 2 ** max(1, math.ceil(math.log2(1.25 * ratio)))
        remedies.append(
            f"--config.train.microbatches={more}: BatchNorm then sees 1/{more} of the batch at a time"
        )
    remedies.append("more chips, or a smaller --config.train.batch_size")
    return remedies


def _cases(config: Config, args: argparse.Namespace) -> Iterator[tuple[str, Config, Topology]]:
    """Yield label, config and topology of each case: topologies, or values of one key on --topology."""
    key, equals, values = (args.sweep or args.topology).partition("=")
    if equals and not args.topology:
        raise UserError(f"--sweep {args.sweep}: needs a --topology.")
    for value in (values if equals else key).split(","):
        topology = Topology.parse(args.topology if equals else value)
        changes = [(key.removeprefix("config."), value)] if equals else []
        if args.images_per_chip:
            changes.append(("train.batch_size", str(args.images_per_chip * topology.num_chips)))
        tree = overrides.to_config_dict(config).to_dict()
        problems = overrides.apply_overrides(tree, changes)
        case, more = overrides.from_tree(tree)
        if problems := [*problems, *more, *validate(case, Facts(topology.num_chips))]:
            raise UserError(f"{value}: {problems[0]}")
        yield value, case, topology


def _lines(result: dict[str, Any]) -> list[str]:
    lines = [
        f"{result['part']} on {result['topology']}: {result['chips']} chips, {result['hosts']} hosts, batch "
        f"{result['batch_size']}"
        + (f", projector {result['projector']}, loss {result['form']}" if result["form"] else ""),
    ]
    if result["parameter_bytes"] is not None:
        lines += [
            f"parameters          {_size(result['parameter_bytes'])} per chip",
            f"optimizer state     {_size(result['optimizer_bytes'])}",
        ]
    if not result["fits"]:
        return [*lines, f"does not fit: {result['reason']}; try:", *(f"  {r}" for r in result["remedies"])]
    lines += [
        f"temporaries         {_size(result['temporary_bytes'])}",
        f"peak                {_size(result['peak_bytes'])} of {_size(result['hbm_capacity'])}",
        f"flops               {result['flops'] / 1e9:.1f} G",
        f"HBM traffic         {_size(result['hbm_bytes'])}",
    ]
    for kind, row in result["collectives"].items():
        lines.append(f"{kind:<20}{_size(row['bytes'])} in {row['count']}")
    lines += [
        f"on the wire         {_size(result['wire_bytes'])} (an all-reduce sends its bytes twice)",
        f"roofline            compute {_ms(result['compute_s'])}, HBM {_ms(result['memory_s'])}, "
        f"interconnect {_ms(result['interconnect_s'])}",
        f"step                {_ms(result['step_s'])}, bound by {result['bound']}; "
        f"{_ms(result['serial_step_s'])} without overlap",
    ]
    if result["part"] == "step":
        lines += [
            f"utilization         {result['utilization']:.0%} of peak flops at most",
            f"images              {result['images_per_second']:.0f} per second at most; each host must then "
            f"load {result['pairs_per_second_and_host']:.0f} pairs per second",
        ]
    if result["hours"]:
        lines.append(
            f"whole run           {result['steps']} steps, {result['hours']:.1f} hours, "
            f"{result['chip_hours']:.0f} chip-hours at least"
        )
    return lines


_COLUMNS = (
    ("", 12, lambda r: r["case"]),
    ("batch", 6, lambda r: r["batch_size"]),
    ("projector", 10, lambda r: r["projector"]),
    ("loss", 6, lambda r: r["form"] or "-"),
    ("peak", 9, lambda r: _size(r["peak_bytes"])),
    ("compute", 9, lambda r: _ms(r["compute_s"])),
    ("HBM", 9, lambda r: _ms(r["memory_s"])),
    ("wire", 9, lambda r: _ms(r["interconnect_s"])),
    ("step", 9, lambda r: _ms(r["step_s"])),
    ("serial", 9, lambda r: _ms(r["serial_step_s"])),
    ("images/s", 9, lambda r: f"{r['images_per_second']:.0f}"),
    ("chip-hours", 10, lambda r: f"{r['chip_hours']:.0f}" if r["chip_hours"] else "-"),
)


def _row(result: dict[str, Any]) -> str:
    shown = _COLUMNS if result["fits"] else _COLUMNS[:4]
    cells = [f"{cell(result):>{width}}" for _, width, cell in shown]
    return "  ".join(cells if result["fits"] else [*cells, f"does not fit: {result['reason']}"])


def _size(number: float) -> str:
    return f"{number / 1e9:.2f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.2f} ms"
