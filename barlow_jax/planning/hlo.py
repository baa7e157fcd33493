"""The text of a compiled program: its computations, how often each runs, its collectives and products.

XLA's own cost analysis counts the body of a loop once, and says nothing of collectives.
"""

from collections.abc import Iterator
import dataclasses
import math
import re
from typing import NamedTuple

import numpy as np

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
# What chips send to their peers on other slices: host transfers, which the compiler puts between a
# reduce-scatter and an all-gather within the slices.
BETWEEN_SLICES = "between-slices"
_BYTES = {
    "pred": 1,
    "s8": 1,
    "u8": 1,
    "f8e4m3fn": 1,
    "f8e5m2": 1,
    "s16": 2,
    "u16": 2,
    "f16": 2,
    "bf16": 2,
    "s32": 4,
    "u32": 4,
    "f32": 4,
    "s64": 8,
    "u64": 8,
    "f64": 8,
    "c64": 8,
    "c128": 16,
}
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\]((?:\{[^}]*\})?)")
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = (.*?) ([\w\-]+)\((.*)$")
_PASSES = {"highest": 6, "high": 3}  # of bfloat16 products on the matrix unit, for a float32 one


class Instruction(NamedTuple):
    name: str
    result: str  # its type: one array, or a tuple
    op: str
    operands: tuple[str, ...]  # names
    line: str

    @property
    def callee(self) -> str | None:
        """The computation that a fusion, a loop's body or a call runs."""
        role = "to_apply" if self.op == "call" else "body" if self.op == "while" else "calls"
        found = re.search(rf"\b{role}=%?([\w.\-]+)", self.line)
        return found[1] if found else None


@dataclasses.dataclass(frozen=True)
class Collective:
    """One collective of a step, as often as it runs."""

    kind: str  # of KINDS, or BETWEEN_SLICES
    count: int
    bytes: int  # a chip, all runs together: of the gathered, reduced or exchanged array
    group: int  # chips that take part
    fused: bool = False  # into a kernel that computes something else meanwhile

    @property
    def wire_bytes(self) -> int:
        """What a chip sends and receives: an all-reduce is a reduce-scatter and an all-gather."""
        return self.bytes * (2 if self.kind == "all-reduce" else 1)


@dataclasses.dataclass(frozen=True)
class Program:
    """A module, cut into computations, each with how often it runs."""

    computations: dict[str, list[Instruction]]
    runs: dict[str, int]
    fused: set[str]  # computations that are one kernel: what they hold inside is not in memory

    @classmethod
    def parse(cls, text: str) -> "Program":
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
        return cls(computations, runs, fused)

    def collectives(self) -> list[Collective]:
        """Every collective. Pieces that the compiler cut it into, to overlap with products, are one."""
        seen, found = set(), []
        for name, times in self.runs.items():
            for instruction in self.computations[name]:
                kind = instruction.op.removesuffix("-start")
                if kind == "send" and "megascale" in instruction.line:
                    size = array_bytes(instruction.result)[0]
                    found.append(Collective(BETWEEN_SLICES, times, times * size, 2))
                chain = re.search(r'chain_id="(\d+)"', instruction.line)
                key = chain[1] if chain else (name, instruction.name)
                if kind in KINDS and key not in seen:
                    seen.add(key)
                    group = _group_size(instruction.line)
                    size = _moved_bytes(kind, instruction, group)
                    found.append(Collective(kind, times, times * size, group, name in self.fused))
        return found

    def cycles(self) -> int:
        """Of a TPU, by the compiler's own estimate of each kernel; vector work is in it, which flops do not show."""
        return sum(
            times * int(cycles)
            for name, times in self.runs.items()
            if name not in self.fused
            for one in self.computations[name]
            for cycles in re.findall(r'"estimated_cycles":"(\d+)"', one.line)
        )

    def extra_passes(self) -> float:
        """Flops that matrix products at float32 precision cost beyond those that XLA counts."""
        return sum((_PASSES.get(precision, 1) - 1) * flops for precision, flops in self._products())

    def loop_factor(self) -> float:
        """How much more is computed than when the body of each loop ran once; 1 without loops."""
        once = sum(flops for _, flops in self._products(loops=False))
        return sum(flops for _, flops in self._products()) / once if once else 1.0

    def _products(self, loops: bool = True) -> Iterator[tuple[str, float]]:
        for name, times in self.runs.items():
            shapes = {one.name: one.result for one in self.computations[name]}
            for one in self.computations[name]:
                if one.op in ("convolution", "dot"):
                    lhs, rhs = (shapes.get(name, "") for name in one.operands[:2])
                    precision = re.search(r"operand_precision=\{(\w+)", one.line)
                    flops = _product_flops(one, _shape(lhs), _shape(rhs)) * (times if loops else 1)
                    yield precision[1] if precision and lhs.startswith("f32") else "default", flops


def array_bytes(text: str, everywhere: bool = True) -> list[int]:
    """Sizes of all arrays that a type names; 0 for those outside the large memory, if not `everywhere`."""
    return [
        _BYTES[dtype] * math.prod(int(n) for n in shape.split(",") if n) * (everywhere or "S(" not in layout)
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
            operands = re.findall(r"%([\w.\-]+)", match[4].split("), ")[0])
            computations[current].append(Instruction(match[1], match[2], match[3], tuple(operands), line))
    if not entry:
        raise ValueError("this is not the text of an HLO module: it has no ENTRY computation")
    return computations, entry


def _trips(loop: Instruction, computations: dict[str, list[Instruction]]) -> int:
    """As XLA says, or as the condition of a scan does, which counts from 0 up to a constant."""
    if known := re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.line):
        return int(known[1])
    condition = computations[re.search(r"condition=%?([\w.\-]+)", loop.line)[1]]
    ends = [re.search(r"constant\((\d+)\)", one.line) for one in condition if one.op == "constant"]
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
    """2 x the elements of the result x those summed over for each."""
    result = _shape(product.result)
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", product.line)
    if labels is None:
        contracted = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", product.line)[1]
        return 2.0 * math.prod(result) * math.prod(lhs[int(axis)] for axis in contracted.split(",") if axis)
    of_lhs, of_rhs, of_result = (
        dict(zip(names, sizes, strict=False))
        for names, sizes in zip(labels.groups(), (lhs, rhs, result), strict=True)
    )
    window = {key: value.split("x") for key, value in re.findall(r"(\w+)=([-\d_x]+)", _window(product.line))}
    terms = 2.0 * of_result.get("b", 1) * of_result.get("f", 1) * of_rhs.get("i", 1)
    for axis, size in enumerate(window.get("size", ())):
        one = {key: values[axis] for key, values in window.items()}
        terms *= _overlaps(int(size), of_lhs[str(axis)], of_result[str(axis)], one)
    return terms


def _overlaps(size: int, inputs: int, outputs: int, window: dict[str, str]) -> int:
    """Pairs of a place of the result and one of the kernel that meet an element of the input along one axis.

    A TPU's compiler writes products in batches as convolutions along the batch, in which nearly all that a window
    covers is padding, or the gaps of a dilated input.
    """
    stride, lhs_dilate, rhs_dilate = (
        int(window.get(key, 1)) for key in ("stride", "lhs_dilate", "rhs_dilate")
    )
    pad = int(window.get("pad", "0_0").split("_")[0])
    places = np.arange(outputs)[:, None] * stride + np.arange(size) * rhs_dilate - pad
    return int(np.sum((places >= 0) & (places <= (inputs - 1) * lhs_dilate) & (places % lhs_dilate == 0)))


def _window(line: str) -> str:
    found = re.search(r"window=\{([^}]*)\}", line)
    return found[1] if found else ""


def _shape(text: str) -> list[int]:
    match = _ARRAY.search(text)
    return [int(n) for n in match[2].split(",") if n] if match else []
