"""What a compiled program sends and how much memory it reads and writes, from the text of its HLO.

XLA's own cost analysis counts the body of a loop once, takes what a TPU keeps in its vector memory (memory
space 1) for traffic of the large one, and says nothing of collectives.
"""

from collections.abc import Iterator
import dataclasses
import math
import re

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
_BYTES = {
    "pred": 1, "s8": 1, "u8": 1, "f8e4m3fn": 1, "f8e5m2": 1, "s16": 2, "u16": 2, "f16": 2, "bf16": 2,
    "s32": 4, "u32": 4, "f32": 4, "s64": 8, "u64": 8, "f64": 8, "c64": 8, "c128": 16,
}  # fmt: skip
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\]((?:\{[^}]*\})?)")
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.\-]+) = (.*?) ([\w\-]+)\((.*)$")
_CALLED = re.compile(r"\b(calls|to_apply|body|condition)=%?([\w.\-]+)")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_FREE = {
    "parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "call", "conditional", "after-all",
    "opt-barrier", "partition-id", "iota",
}  # fmt: skip
_PASSES = {"highest": 6, "high": 3}  # of bfloat16 products on the matrix unit, for a float32 one


@dataclasses.dataclass(frozen=True)
class Collective:
    """One collective of a step, as often as it runs."""

    kind: str  # of KINDS
    count: int
    bytes: int  # a chip, all runs together: of the gathered, reduced or exchanged array
    group: int  # chips that take part

    @property
    def wire_bytes(self) -> int:
        """What a chip sends and receives: an all-reduce is a reduce-scatter and an all-gather."""
        return self.bytes * (2 if self.kind == "all-reduce" else 1)


@dataclasses.dataclass(frozen=True)
class Program:
    """The text of a module, cut into computations, each with how often it runs."""

    computations: dict[str, list[str]]
    runs: dict[str, int]
    fused: set[str]  # computations that are one kernel: what they hold inside is not in memory

    @classmethod
    def parse(cls, text: str) -> "Program":
        computations, entry = _computations(text)
        runs: dict[str, int] = {}
        fused: set[str] = set()

        def visit(name: str, times: int) -> None:
            runs[name] = runs.get(name, 0) + times
            for line in computations[name]:
                trips = _trips(line, computations)
                for role, callee in _CALLED.findall(line):
                    if role == "to_apply" and " call(" not in line:  # a scalar reduction
                        continue
                    visit(callee, times * (trips if role in ("body", "condition") else 1))
                    if role == "calls" and " fusion(" in line:
                        fused.add(callee)

        visit(entry, 1)
        return cls(computations, runs, fused)

    def collectives(self) -> list[Collective]:
        """Every collective. Pieces that the compiler cut it into, to overlap with products, are one."""
        seen, found = set(), []
        for name, times in self.runs.items():
            for line in self.computations[name]:
                match = _INSTRUCTION.match(line)
                kind = match and match[3].removesuffix("-start")
                if kind not in KINDS:
                    continue
                chain = re.search(r'chain_id="(\d+)"', line)
                key = chain[1] if chain else (name, match[1])
                if key in seen:
                    continue
                seen.add(key)
                group = _group_size(line)
                size = _moved_bytes(kind, match[2], match[3] != kind, group)
                found.append(Collective(kind, times, times * size, group))
        return found

    def hbm_bytes(self) -> int:
        """Bytes that kernels, copies and collectives read from and write to the large memory."""
        total = 0
        for name, times in self.runs.items():
            if name in self.fused:
                continue
            matches = [match for line in self.computations[name] if (match := _INSTRUCTION.match(line))]
            types = {match[1]: match[2] for match in matches}
            for _, result, op, rest in (match.groups() for match in matches):
                operands = re.findall(r"%([\w.\-]+)", rest.split("), ")[0])
                total += times * _traffic(op, result, [types.get(operand, "") for operand in operands])
        return total

    def extra_passes(self) -> float:
        """Flops that matrix products at float32 precision cost beyond those that XLA counts."""
        return sum((_PASSES.get(precision, 1) - 1) * flops for precision, flops in self._products())

    def loop_factor(self) -> float:
        """How much more is computed than when the body of each loop ran once; 1 without loops."""
        once = sum(flops for _, flops in self._products(loops=False))
        return sum(flops for _, flops in self._products()) / once if once else 1.0

    def _products(self, loops: bool = True) -> Iterator[tuple[str, float]]:
        for name, times in self.runs.items():
            lines = self.computations[name]
            shapes = {match[1]: match[2] for line in lines if (match := _INSTRUCTION.match(line))}
            for line in lines:
                match = _INSTRUCTION.match(line)
                if match and match[3] in ("convolution", "dot"):
                    precision = re.search(r"operand_precision=\{(\w+)", line)
                    flops = _product_flops(match[2], match[4], line, shapes)
                    yield precision[1] if precision else "default", flops * (times if loops else 1)


def _computations(text: str) -> tuple[dict[str, list[str]], str]:
    computations: dict[str, list[str]] = {}
    current, entry = None, ""
    for line in text.splitlines():
        if line.endswith("{") and not line.startswith((" ", "HloModule")):
            current = re.match(r"(?:ENTRY )?%?([\w.\-]+)", line)[1]
            computations[current] = []
            entry = current if line.startswith("ENTRY") else entry
        elif current and line.startswith("  "):
            computations[current].append(line)
    if not entry:
        raise ValueError("this is not the text of an HLO module: it has no ENTRY computation")
    return computations, entry


def _trips(line: str, computations: dict[str, list[str]]) -> int:
    """Of a loop: as XLA says, or as the condition of a scan does, which counts from 0 up to a constant."""
    if known := _TRIPS.search(line):
        return int(known[1])
    condition = re.search(r" while\(.*condition=%?([\w.\-]+)", line)
    ends = (
        re.findall(r" s32\[\]\S* constant\((\d+)\)", "\n".join(computations[condition[1]]))
        if condition
        else []
    )
    return int(ends[0]) if len(ends) == 1 else 1


def _array_bytes(text: str, everywhere: bool = True) -> list[int]:
    """Sizes of all arrays that a type names; 0 for those outside the large memory, if not `everywhere`."""
    return [
        _BYTES[dtype] * math.prod(int(n) for n in shape.split(",") if n) * (everywhere or "S(" not in layout)
        for dtype, shape, layout in _ARRAY.findall(text)
        if dtype in _BYTES
    ]


def _traffic(op: str, result: str, operands: list[str]) -> int:
    if op in _FREE or op.endswith("-done"):
        return 0
    written = _array_bytes(result, everywhere=False)
    if op == "copy-start":  # target, source, bookkeeping
        return sum(written)
    if op == "slice-start":  # source, slice, bookkeeping: reads as much as it writes
        return max(_array_bytes(result)[1:], default=0) + sum(written[1:])
    if op.endswith("-start"):  # operands and results are both in the result
        return sum(written)
    return sum(written) + sum(sum(_array_bytes(operand, everywhere=False)) for operand in operands)


def _moved_bytes(kind: str, result: str, started: bool, group: int) -> int:
    sizes = _array_bytes(result)
    if started and kind in ("all-gather", "collective-permute", "all-to-all"):
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


def _product_flops(result: str, operands: str, line: str, shapes: dict[str, str]) -> float:
    """2 x the elements of the result x those summed over for each."""
    out = _shape(result)
    names = re.findall(r"%([\w.\-]+)", operands)[:2]
    lhs, rhs = (_shape(shapes.get(name, "")) for name in names)
    if labels := re.search(r"dim_labels=(\w+)_(\w+)->", line):
        summed = math.prod(n for n, label in zip(rhs, labels[2], strict=False) if label != "o")
    else:
        contracted = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", line)[1]
        summed = math.prod(lhs[int(axis)] for axis in contracted.split(",") if axis)
    return 2.0 * math.prod(out) * summed


def _shape(text: str) -> list[int]:
    match = _ARRAY.search(text)
    return [int(n) for n in match[2].split(",") if n] if match else []
