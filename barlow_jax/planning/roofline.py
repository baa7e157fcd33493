"""Cost of a compiled step on one chip, and its minimum duration by a roofline model.

The matrix unit, the memory and the interconnect work in parallel. A step takes at least the longest of their
three times (full overlap), and hardly more than their sum (no overlap).
"""

import dataclasses
import math
import re
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache

from barlow_jax.planning import hlo, traffic
from barlow_jax.planning.hlo import Collective
from barlow_jax.planning.tpu import Topology


@dataclasses.dataclass(frozen=True)
class Cost:
    """Cost of a compiled program per chip, in bytes and floating-point operations."""

    argument_bytes: int
    temporary_bytes: int  # live only inside the program
    peak_bytes: int  # maximum that is live at once, including arguments
    flops: float  # as counted by XLA, times the runs of loops
    matrix_flops: float  # the same, a float32 product counted as the bfloat16 products that take its time
    hbm_bytes: float  # read and written
    collectives: tuple[Collective, ...]

    @classmethod
    def from_compiled(cls, lowered: jax.stages.Lowered, compiled: jax.stages.Compiled) -> "Cost":
        """Return the cost of a program, lowered and compiled."""
        memory, analysis = compiled.memory_analysis(), compiled.cost_analysis()
        module = hlo.HloModule.parse(text := compiled.as_text())
        flops = analysis.get("flops", 0.0) * module.loop_factor()
        matrix_flops = flops + module.extra_passes()
        if hlo.GPU_LIBRARY_CALL in text:  # XLA does not count what cuDNN and cuBLAS compute
            source = hlo.HloModule.parse(lowered.as_text("hlo"))
            flops = source.product_flops({}) / module.num_partitions
            matrix_flops = source.product_flops(hlo.GPU_PASSES) / module.num_partitions
        return cls(
            argument_bytes=memory.argument_size_in_bytes,
            temporary_bytes=memory.temp_size_in_bytes,
            peak_bytes=memory.peak_memory_in_bytes,
            flops=flops,
            matrix_flops=matrix_flops,
            hbm_bytes=traffic.hbm_bytes(module),
            collectives=tuple(module.collectives()),
        )

    def summary(self) -> dict[str, Any]:
        """Return the cost as a dict, as the commands report it."""
        names = ("argument_bytes", "temporary_bytes", "peak_bytes", "flops", "hbm_bytes")
        return {name: getattr(self, name) for name in names} | {
            "collective_bytes": sum(collective.bytes for collective in self.collectives),
            "wire_bytes": sum(collective.wire_bytes for collective in self.collectives),
            "collectives": self.by_kind(),
        }

    def by_kind(self) -> dict[str, dict[str, int]]:
        """Return count and bytes of the collectives by kind."""
        table: dict[str, dict[str, int]] = {}
        for collective in self.collectives:
            row = table.setdefault(collective.kind, {"count": 0, "bytes": 0})
            row["count"] += collective.count
            row["bytes"] += collective.bytes
        return table


@dataclasses.dataclass(frozen=True)
class Roofline:
    """Seconds of a step by resource."""

    compute: float
    memory: float
    interconnect: float

    @classmethod
    def from_cost(cls, cost: Cost, topology: Topology) -> "Roofline":
        """Return the times of a program's cost on the chips of a topology."""
        chip = topology.chip
        return cls(
            compute=cost.matrix_flops / chip.flops,
            memory=cost.hbm_bytes / chip.hbm_bandwidth,
            interconnect=sum(_seconds(collective, topology) for collective in cost.collectives),
        )

    @property
    def step(self) -> float:
        """Minimum time of a step, with full overlap."""
        return max(self.compute, self.memory, self.interconnect)

    @property
    def bound(self) -> str:
        """Resource with the longest time."""
        return max(("compute", "memory", "interconnect"), key=lambda name: getattr(self, name))

    @property
    def serial(self) -> float:
        """Time of a step without overlap."""
        return self.compute + self.memory + self.interconnect


def _seconds(collective: Collective, topology: Topology) -> float:
    """Return the seconds of a collective that fully uses the links of the axes along which it runs.

    Gathers and reductions over a slice run as rings along all axes at once; those over as many chips as an
    axis has run along that axis. In an exchange every chip sends half of its data across the middle of the
    longest axis.
    """
    chip, group = topology.chip, collective.group
    if group == 1:
        return 0.0
    if collective.kind == hlo.BETWEEN_SLICES:
        return collective.bytes / chip.dcn_bandwidth
    if collective.kind == "collective-permute":
        return collective.bytes / chip.link_bandwidth
    if not chip.wraps:  # all send at the same time, through a switch
        return collective.wire_bytes * (group - 1) / group / chip.link_bandwidth
    ways = {size: 2 if size % chip.wraps == 0 else 1 for size in topology.dims if size > 1}
    axes = [group]
    if group not in ways or group == math.prod(topology.dims):
        axes = [size for size in topology.dims if size > 1]
    if collective.kind == "all-to-all":
        return collective.bytes * max(axes) / (4 * ways[max(axes)] * chip.link_bandwidth)
    bandwidth = sum(chip.link_bandwidth * ways[size] for size in axes)
    return collective.wire_bytes * (group - 1) / group / bandwidth


_TOO_LARGE = re.compile(r"Used (\S+) of (\S+) hbm|\(([\d.]+\w)\) exceeds available HBM \(([\d.]+\w)\)")


class DoesNotFit(Exception):
    """The program does not fit into a chip's memory."""

    def __init__(self, used: str, available: str):
        """Take both sizes as the compiler prints them, such as "11.8G"."""
        super().__init__(f"it needs {used} of the {available} of a chip's memory")
        self.ratio = _number(used) / _number(available)


def _number(size: str) -> float:
    """Convert a size such as "11.8G" to bytes."""
    return float(size.rstrip("KMGT")) * 1024.0 ** (" KMGT".index(size[-1]) if size[-1] in "KMGT" else 0)


def compile_new(lowered: jax.stages.Lowered) -> jax.stages.Compiled:
    """Compile a program without the compilation cache, which cannot load programs for absent chips.

    Raises:
      DoesNotFit: the program needs more memory than a chip has.
    """
    enabled = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()
    try:
        return lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        sizes = _TOO_LARGE.search(str(error))
        if sizes is None:
            raise
        raise DoesNotFit(*(size for size in sizes.groups() if size)) from None
    finally:
        jax.config.update("jax_enable_compilation_cache", enabled)
        compilation_cache.reset_cache()
