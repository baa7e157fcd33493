"""What a compiled step costs a chip, and how long it must take at least.

Three clocks run side by side: the matrix unit, the memory, the interconnect. A step takes no less than the
longest of them (all overlapped), and hardly more than their sum (nothing overlapped).
"""

from collections.abc import Iterator
import contextlib
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
    """Of one compiled program, for each chip. Bytes, and floating point operations."""

    argument_bytes: int
    temporary_bytes: int  # that are only alive inside the program
    peak_bytes: int  # most that is alive at once, arguments included
    flops: float  # as XLA counts them
    matrix_flops: float  # the same with float32 products at their passes of the bfloat16 unit
    hbm_bytes: float  # read and written
    collectives: tuple[Collective, ...]

    @classmethod
    def of(cls, compiled: jax.stages.Compiled) -> "Cost":
        memory, analysis = compiled.memory_analysis(), compiled.cost_analysis()
        program = hlo.Program.parse(compiled.as_text())
        flops = analysis.get("flops", 0.0) * program.loop_factor()
        return cls(
            argument_bytes=memory.argument_size_in_bytes,
            temporary_bytes=memory.temp_size_in_bytes,
            peak_bytes=memory.peak_memory_in_bytes,
            flops=flops,
            matrix_flops=flops + program.extra_passes(),
            hbm_bytes=traffic.hbm_bytes(program),
            collectives=tuple(program.collectives()),
        )

    def summary(self) -> dict[str, Any]:
        """The figures by name, as the programs report them."""
        names = (
            "argument_bytes",
            "temporary_bytes",
            "peak_bytes",
            "flops",
            "hbm_bytes",
            "collective_bytes",
            "wire_bytes",
        )
        return {name: getattr(self, name) for name in names} | {"collectives": self.by_kind()}

    def by_kind(self) -> dict[str, dict[str, int]]:
        """Count and bytes of each kind of collective that is there."""
        table: dict[str, dict[str, int]] = {}
        for one in self.collectives:
            row = table.setdefault(one.kind, {"count": 0, "bytes": 0})
            row["count"] += one.count
            row["bytes"] += one.bytes
        return table

    @property
    def collective_bytes(self) -> int:
        return sum(one.bytes for one in self.collectives)

    @property
    def wire_bytes(self) -> int:
        """An all-reduce counted twice."""
        return sum(one.wire_bytes for one in self.collectives)


@dataclasses.dataclass(frozen=True)
class Roofline:
    """Seconds of a step."""

    compute: float
    memory: float
    interconnect: float

    @classmethod
    def of(cls, cost: Cost, topology: Topology) -> "Roofline":
        chip = topology.chip
        return cls(
            compute=cost.matrix_flops / chip.flops,
            memory=cost.hbm_bytes / chip.hbm_bandwidth,
            interconnect=sum(_seconds(one, topology) for one in cost.collectives),
        )

    @property
    def step(self) -> float:
        """The least that a step takes: everything overlapped."""
        return max(self.compute, self.memory, self.interconnect)

    @property
    def bound(self) -> str:
        return max(("compute", "memory", "interconnect"), key=lambda name: getattr(self, name))

    @property
    def serial(self) -> float:
        """Nothing overlapped."""
        return self.compute + self.memory + self.interconnect


def _seconds(one: Collective, topology: Topology) -> float:
    """Of a collective at full use of every link of the axes that it runs along.

    Gathers and reductions over a slice run as rings along all axes at once, those over as many chips as an
    axis has along that one. In an exchange every chip sends half of what it has across the middle of the
    longest axis.
    """
    chip, group = topology.chip, one.group
    if group == 1:
        return 0.0
    if one.kind == hlo.BETWEEN_SLICES:
        return one.bytes / chip.dcn_bandwidth
    ways = {size: 2 if size % chip.wraps == 0 else 1 for size in topology.dims if size > 1}
    axes = [group]
    if group not in ways or group == math.prod(topology.dims):
        axes = [size for size in topology.dims if size > 1]
    if one.kind == "all-to-all":
        return one.bytes * max(axes) / (4 * ways[max(axes)] * chip.link_bandwidth)
    if one.kind == "collective-permute":
        return one.bytes / chip.link_bandwidth
    bandwidth = sum(chip.link_bandwidth * ways[size] for size in axes)
    return one.wire_bytes * (group - 1) / group / bandwidth


_TOO_LARGE = re.compile(r"Used (\S+) of (\S+) hbm|\(([\d.]+\w)\) exceeds available HBM \(([\d.]+\w)\)")


class DoesNotFit(Exception):
    """The compiler found no way to keep the program in a chip's memory."""

    def __init__(self, used: str, available: str):
        super().__init__(f"it wants {used} of the {available} of a chip's memory")
        self.ratio = _number(used) / _number(available)


def _number(size: str) -> float:
    """ "11.8G" as the compiler says it, in bytes."""
    return float(size.rstrip("KMGT")) * 1024.0 ** (" KMGT".index(size[-1]) if size[-1] in "KMGT" else 0)


def compile_cost(lowered: jax.stages.Lowered) -> tuple[Cost, jax.stages.Compiled]:
    """Compiles; DoesNotFit says by how much where it does not."""
    try:
        with _without_cache():
            compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        said = _TOO_LARGE.search(str(error))
        if said is None:
            raise
        raise DoesNotFit(*(group for group in said.groups() if group)) from None
    return Cost.of(compiled), compiled


@contextlib.contextmanager
def _without_cache() -> Iterator[None]:
    """Programs for chips that are not here cannot be read back from a compilation cache."""
    enabled = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", enabled)
        compilation_cache.reset_cache()
