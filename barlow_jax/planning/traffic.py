"""What a compiled program reads from and writes to a chip's large memory, from the text of its HLO.

XLA's cost analysis takes what a TPU keeps in its vector memory (memory space 1) for traffic of the large one,
three times too much for a ResNet-50. Counted here: what each kernel, copy and collective reads and writes; of
an operand that a kernel only slices, the slice; of a buffer that it only hands on, nothing.
"""

import re

from barlow_jax.planning.hlo import KINDS, Instruction, Program, array_bytes

_FREE = {
    "parameter",
    "constant",
    "tuple",
    "get-tuple-element",
    "bitcast",
    "while",
    "call",
    "conditional",
    "after-all",
    "opt-barrier",
    "partition-id",
    "iota",
}
_SLICES = ("dynamic-slice", "slice", "gather")


def hbm_bytes(program: Program) -> int:
    """Of one run of the program, on one chip."""
    total = sum(one.bytes for one in program.collectives() if one.fused)
    for name, times in program.runs.items():
        if name not in program.fused:
            body = program.computations[name]
            types = {one.name: one.result for one in body}
            total += times * sum(_instruction(program, one, types) for one in body)
    return total


def _instruction(program: Program, one: Instruction, types: dict[str, str]) -> int:
    if one.op in _FREE or one.op.endswith("-done"):
        return 0
    operands = [types.get(name, "") for name in one.operands]
    if one.op == "fusion":
        body = program.computations[one.callee]
        return _written(one, body) + sum(_read(program, body, k, kind) for k, kind in enumerate(operands))
    written = array_bytes(one.result, everywhere=False)
    if one.op == "slice-start":  # source, slice, bookkeeping: reads as much as it writes
        return max(array_bytes(one.result)[1:], default=0) + sum(written[1:])
    if one.op.endswith("-start"):  # operands and results are both in the result
        return sum(written)
    return sum(written) + sum(sum(array_bytes(kind, everywhere=False)) for kind in operands)


def _written(fusion: Instruction, body: list[Instruction]) -> int:
    """Of each result: all of it, or the part that is updated in place, or nothing if it is only handed on."""
    by_name = {one.name: one for one in body}
    root = next(one for one in body if one.line.lstrip().startswith("ROOT"))
    results = root.operands if root.op == "tuple" else (root.name,)
    aliased = {
        int(n) for n in re.findall(r"\{(\d+)\}: \(", fusion.line.split("output_to_operand_aliasing")[-1])
    }
    sizes = array_bytes(fusion.result, everywhere=False)
    total = 0
    for index, (name, size) in enumerate(zip(results, sizes, strict=False)):
        maker = by_name[name]
        while maker.op == "bitcast":
            maker = by_name[maker.operands[0]]
        if maker.op == "dynamic-update-slice":
            total += min(size, sum(array_bytes(by_name[maker.operands[1]].result)))
        elif maker.op != "parameter" and not (index in aliased and maker.op in KINDS):
            total += size
    return total


def _read(program: Program, body: list[Instruction], index: int, kind: str) -> int:
    """Of a fusion's operand: all of it, or the slices that are taken."""
    whole = sum(array_bytes(kind, everywhere=False))
    parameter = next((one for one in body if f" parameter({index})" in one.line), None)
    if whole == 0 or parameter is None:
        return whole
    names, total = [parameter.name], 0
    while names:
        name = names.pop()
        for user in body:
            if name not in user.operands or user.op == "tuple" or user.op in KINDS:
                continue
            if user.op == "bitcast":
                names.append(user.name)
            elif user.op in _SLICES:
                total += sum(array_bytes(user.result))
            elif user.op == "fusion":
                inner = program.computations[user.callee]
                total += _read(program, inner, user.operands.index(name), kind)
            elif not (user.op == "dynamic-update-slice" and user.operands[0] == name):
                return whole
    return min(total, whole)
