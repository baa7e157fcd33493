"""Parser of the HLO text of a compiled program: its computations, collectives and matrix products.

XLA's own cost analysis counts the body of a loop once and ignores collectives.
"""

from collections.abc import Iterator, Mapping
import dataclasses
import math
import re
from typing import NamedTuple

import numpy as np

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
# Transfer between chips of different slices: a host transfer, which the compiler inserts between a
# reduce-scatter and an all-gather within the slices.
BETWEEN_SLICES = "between-slices"
_BYTES = {"pred": 1, "f8e4m3fn": 1, "f8e5m2": 1, "bf16": 2, "c64": 8, "c128": 16}
_BYTES |= {f"{kind}{8 * size}": size for kind in "suf" for size in (1, 2, 4, 8)}
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\]((?:\{[^}]*\})?)")
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = (.*?) ([\w\-]+)\((.*)$")
# bfloat16 products that take the time of a float32 product, by its precision: passes of a TPU's matrix unit;
# on a GPU the ratio of the peaks of bfloat16 to TF32, of which "high" needs three, and to float32 (989 / 67).
_TPU_PASSES = {"highest": 6.0, "high": 3.0}
GPU_PASSES = {"highest": 15.0, "high": 6.0, "default": 2.0}
GPU_LIBRARY_CALL = 'custom_call_target="__cu'  # cuDNN, cuBLAS


class Instruction(NamedTuple):
    """One instruction of a computation."""

    name: str
    result: str  # type of the result: an array or a tuple
    op: str
    operands: tuple[str, ...]  # names
    line: str

    @property
    def callee(self) -> str | None:
        """Name of the computation that a fusion, a loop or a call runs."""
        role = "to_apply" if self.op == "call" else "body" if self.op == "while" else "calls"
        match = re.search(rf"\b{role}=%?([\w.\-]+)", self.line)
        return match[1] if match else None


@dataclasses.dataclass(frozen=True)
class Collective:
    """Collective of a step, with all its runs."""

    kind: str  # one of COLLECTIVES, or BETWEEN_SLICES
    count: int
    bytes: int  # per chip, all runs together: the size of the gathered, reduced or exchanged array
    group: int  # number of participating chips
    fused: bool = False  # whether it runs in a kernel that also computes something else

    @property
    def wire_bytes(self) -> int:
        """Bytes that a chip sends and receives: an all-reduce is a reduce-scatter and an all-gather."""
        return self.bytes * (2 if self.kind == "all-reduce" else 1)


@dataclasses.dataclass(frozen=True)
class HloModule:
    """Parsed HLO module: its computations, and how often each runs."""

    computations: dict[str, list[Instruction]]
    runs: dict[str, int]
    fused: set[str]  # computations that are one kernel, whose intermediate values are not in memory
    num_partitions: int = 1  # chips among which the program was split

    @classmethod
    def parse(cls, text: str) -> "HloModule":
        """Parse the text of a compiled program, or of a lowered one, whose names have no %."""
        computations, entry = _computations(text)
        runs: dict[str, int] = {}
        fused: set[str] = set()

        def visit(name: str, times: int) -> None:
            runs[name] = runs.get(name, 0) + times
            for instruction in computations[name]:
                callee = instruction.callee
                if callee is None:
                    continue
                if instruction.op == "fusion":
                    fused.add(callee)
                visit(callee, times * (_trips(instruction, computations) if instruction.op == "while" else 1))

        visit(entry, 1)
        partitions = re.match(r"HloModule .*num_partitions=(\d+)", text)
        return cls(computations, runs, fused, int(partitions[1]) if partitions else 1)

    def collectives(self) -> list[Collective]:
        """Return all collectives. Pieces of one, which the compiler overlaps with products, count as one."""
        seen, collectives = set(), []
        for name, times in self.runs.items():
            for instruction in self.computations[name]:
                kind = instruction.op.removesuffix("-start")
                if kind == "send" and "megascale" in instruction.line:
                    size = array_bytes(instruction.result)[0]
                    collectives.append(Collective(BETWEEN_SLICES, times, times * size, 2))
                chain = re.search(r'chain_id="(\d+)"', instruction.line)
                key = chain[1] if chain else (name, instruction.name)
                if kind in COLLECTIVES and key not in seen:
                    seen.add(key)
                    group = _group_size(instruction.line)
                    size = _moved_bytes(kind, instruction, group)
                    collectives.append(Collective(kind, times, times * size, group, name in self.fused))
        return collectives

    def cycles(self) -> int:
        """Return a TPU's cycles by the compiler's estimate per kernel, which includes vector operations."""
        return sum(
            times * int(cycles)
            for name, times in self.runs.items()
            if name not in self.fused
            for instruction in self.computations[name]
            for cycles in re.findall(r'"estimated_cycles":"(\d+)"', instruction.line)
        )

    def extra_passes(self) -> float:
        """Return the flops of float32 matrix products on a TPU beyond those that XLA counts."""
        return self.product_flops(_TPU_PASSES) - self.product_flops({})

    def loop_factor(self) -> float:
        """Return the products' flops, relative to those with one run of each loop body; 1 without loops."""
        once = sum(flops for _, flops in self._products(loops=False))
        return self.product_flops({}) / once if once else 1.0

    def product_flops(self, passes: Mapping[str, float]) -> float:
        """Return the flops of all products and convolutions; `passes` weights float32 ones by precision."""
        return sum(passes.get(precision, 1.0) * flops for precision, flops in self._products())

    def _products(self, loops: bool = True) -> Iterator[tuple[str, float]]:
        for name, times in self.runs.items():
            shapes = {instruction.name: instruction.result for instruction in self.computations[name]}
            for product in self.computations[name]:
                if product.op in ("convolution", "dot"):
                    lhs, rhs = (shapes.get(operand, "") for operand in product.operands[:2])
                    precision = re.search(r"operand_precision=\{(\w+)", product.line)
                    flops = _product_flops(product, _shape(lhs), _shape(rhs)) * (times if loops else 1)
                    yield (precision[1] if precision else "default") * lhs.startswith("f32"), flops


def array_bytes(text: str, any_memory: bool = True) -> list[int]:
    """Return the sizes of a type's arrays; unless `any_memory`, 0 for those outside the large memory."""
    return [
        _BYTES[dtype] * math.prod(int(n) for n in shape.split(",") if n) * (any_memory or "S(" not in layout)
        for dtype, shape, layout in _ARRAY.findall(text)
        if dtype in _BYTES
    ]


def _computations(text: str) -> tuple[dict[str, list[Instruction]], str]:
    computations: dict[str, list[Instruction]] = {}
    current, entry = None, ""
    for line in text.splitlines():
        if line.endswith("{") and not line.startswith((" ", "HloModule")):
            current = re.match(r"(?:ENTRY )?%?([\w.\-]+)", line)[1]
            computations[current] = []
            entry = current if line.startswith("ENTRY") else entry
        elif current and (match := _INSTRUCTION.match(line)):
            prefix = "%" if line.lstrip().removeprefix("ROOT ").startswith("%") else ""
            operands = re.findall(prefix + r"([\w.\-]+)", match[4].split("), ")[0])
            computations[current].append(Instruction(match[1], match[2], match[3], tuple(operands), line))
    if not entry:
        raise ValueError("the text is not an HLO module: it has no ENTRY computation")
    return computations, entry


def _trips(loop: Instruction, computations: dict[str, list[Instruction]]) -> int:
    """Return a loop's trip count: known to XLA, or the constant up to which a scan's condition counts."""
    if known := re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.line):
        return int(known[1])
    condition = computations[re.search(r"condition=%?([\w.\-]+)", loop.line)[1]]
    constants = (instruction.line for instruction in condition if instruction.op == "constant")
    ends = [re.search(r"constant\((\d+)\)", line) for line in constants]
    return int(ends[0][1]) if len(ends) == 1 and ends[0] else 1


def _moved_bytes(kind: str, instruction: Instruction, group: int) -> int:
    sizes = array_bytes(instruction.result)
    if instruction.op != kind and kind in ("all-gather", "collective-permute", "all-to-all"):
        return max(sizes)  # operand, result and bookkeeping
    return sum(sizes) * (group if kind == "reduce-scatter" else 1)


def _group_size(line: str) -> int:
    if mesh := re.search(r"replica_groups=mesh\[(.*?)\][^{]*\{(.*?)\}", line):
        axes = dict(re.findall(r"'(\w+)'=(\d+)", mesh[1]))
        return math.prod(int(axes[name]) for name in re.findall(r"'(\w+)'", mesh[2]))
    if iota := re.search(r"replica_groups=\[(\d+),(\d+)\]", line):
        return int(iota[2])
    if listed := re.search(r"replica_groups=\{\{([\d,]*)\}", line):
        return listed[1].count(",") + 1
    return 2 if "source_target_pairs" in line else 1


def _product_flops(product: Instruction, lhs: list[int], rhs: list[int]) -> float:
    """Return 2 x the elements of the result x the terms of the sum for each element."""
    result = _shape(product.result)
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", product.line)
    if labels is None:
        contracted = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", product.line)[1]
        return 2.0 * math.prod(result) * math.prod(lhs[int(axis)] for axis in contracted.split(",") if axis)
    lhs_sizes, rhs_sizes, result_sizes = (
        dict(zip(names, sizes, strict=False))
        for names, sizes in zip(labels.groups(), (lhs, rhs, result), strict=True)
    )
    match = re.search(r"window=\{([^}]*)\}", product.line)
    pairs = re.findall(r"(\w+)=([-\d_x]+)", match[1] if match else "")
    window = {key: value.split("x") for key, value in pairs}
    terms = 2.0 * result_sizes.get("b", 1) * result_sizes.get("f", 1) * rhs_sizes.get("i", 1)
    for axis, size in enumerate(window.get("size", ())):
        axis_window = {key: values[axis] for key, values in window.items()}
        terms *= _overlaps(int(size), lhs_sizes[str(axis)], result_sizes[str(axis)], axis_window)
    return terms


def _overlaps(size: int, inputs: int, outputs: int, window: dict[str, str]) -> int:
    """Count the pairs of output and kernel positions that meet an input element along one axis.

    The TPU compiler writes batched products as convolutions along the batch, whose windows cover mostly
    padding or the gaps of a dilated input.
    """
    keys = "stride", "lhs_dilate", "rhs_dilate"
    stride, lhs_dilate, rhs_dilate = (int(window.get(key, 1)) for key in keys)
    pad = int(window.get("pad", "0_0").split("_")[0])
    positions = np.arange(outputs)[:, None] * stride + np.arange(size) * rhs_dilate - pad
    inside = (positions >= 0) & (positions <= (inputs - 1) * lhs_dilate)
    return int(np.sum(inside & (positions % lhs_dilate == 0)))


def _shape(text: str) -> list[int]:
    match = _ARRAY.search(text)
    return [int(n) for n in match[2].split(",") if n] if match else []
