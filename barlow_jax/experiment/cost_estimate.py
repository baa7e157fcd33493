"""Cost estimate of a train step on a topology: memory, traffic and predicted step time."""

import dataclasses
import functools
import math
from typing import Any

import jax

from barlow_jax.config.schema import Config, Data
from barlow_jax.data import catalog
from barlow_jax.experiment import lowering
from barlow_jax.experiment.experiment import Experiment
from barlow_jax.losses.correlation import resolve_form
from barlow_jax.planning.formatting import format_bytes, format_ms
from barlow_jax.planning.roofline import Cost, DoesNotFit, Roofline, compile_new
from barlow_jax.planning.tpu import Topology


@dataclasses.dataclass(frozen=True, repr=False)
class CostEstimate:
    """Cost of a train step on its chips; bytes, flops and seconds are per chip and step.

    Attributes:
      fits: whether the step fits into the memory of the chips.
      values: all numbers by name, as the command `plan` returns them; without times if it does not fit.
    """

    fits: bool
    values: dict[str, Any]

    def __repr__(self) -> str:
        return "\n".join(format_plan(self.values))


def plan(
    config: Config, topology: Topology, part: str = "step", compiled: jax.stages.Compiled | None = None
) -> dict[str, Any]:
    """Estimate the cost of a config on a topology; bytes, flops and seconds are per chip and step.

    `compiled` is the program if it has been compiled already.
    """
    experiment = Experiment.from_config(config, topology.devices())
    images = num_images(config.data)
    sampler = experiment.sampler(images or config.train.batch_size)
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
        cost = Cost.from_compiled(lowered, compiled or compile_new(lowered))
    except DoesNotFit as error:
        remedies = _remedies(config, result, error.ratio)
        return result | {"fits": False, "reason": str(error), "remedies": remedies}
    steps = experiment.num_steps(sampler) if images and part == "step" else None
    return result | {"fits": True} | cost.summary() | _time_estimate(cost, topology, result, steps)


def _form(config: Config, experiment: Experiment) -> str | None:
    """Return the form of the loss; None if the loss does not read embeddings."""
    if not config.network.projector:
        return None
    shape = (config.train.batch_size, config.network.projector[-1])
    return resolve_form(config.objective.form, *shape, experiment.layout.reshard)


@functools.cache  # a folder of images is counted once, not for each row of a sweep
def num_images(data: Data) -> int | None:
    """Return the number of training images; None if it is unknown before the data set is prepared."""
    return catalog.count_images(data, (data.train_split,))[0].get(data.train_split)


def _time_estimate(
    cost: Cost, topology: Topology, result: dict[str, Any], steps: int | None
) -> dict[str, Any]:
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


def format_plan(result: dict[str, Any]) -> list[str]:
    """Return the lines that show a cost estimate."""
    lines = [
        f"{result['part']} on {result['topology']}: {result['chips']} chips, {result['hosts']} hosts, batch "
        f"{result['batch_size']}"
        + (f", projector {result['projector']}, loss {result['form']}" if result["form"] else ""),
    ]
    if result["parameter_bytes"] is not None:
        lines += [
            f"parameters          {format_bytes(result['parameter_bytes'])} per chip",
            f"optimizer state     {format_bytes(result['optimizer_bytes'])}",
        ]
    if not result["fits"]:
        return [*lines, f"does not fit: {result['reason']}; try:", *(f"  {r}" for r in result["remedies"])]
    lines += [
        f"temporaries         {format_bytes(result['temporary_bytes'])}",
        f"peak                {format_bytes(result['peak_bytes'])} of {format_bytes(result['hbm_capacity'])}",
        f"flops               {result['flops'] / 1e9:.1f} G",
        f"HBM traffic         {format_bytes(result['hbm_bytes'])}",
    ]
    for kind, row in result["collectives"].items():
        lines.append(f"{kind:<20}{format_bytes(row['bytes'])} in {row['count']}")
    lines += [
        f"on the wire         {format_bytes(result['wire_bytes'])} (an all-reduce sends its bytes twice)",
        f"roofline            compute {format_ms(result['compute_s'])}, HBM {format_ms(result['memory_s'])}, "
        f"interconnect {format_ms(result['interconnect_s'])}",
        f"step                {format_ms(result['step_s'])}, bound by {result['bound']}; "
        f"{format_ms(result['serial_step_s'])} without overlap",
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
