"""Traffic between a chip and its large memory (HBM), from the HLO text of a compiled program.

XLA's cost analysis counts accesses to a TPU's vector memory (memory space 1) as traffic of the large memory:
three times too much for a ResNet-50. This module counts what each kernel, copy and collective reads and
writes: only the slice of an operand that a kernel slices, and nothing for a buffer that it passes on.
"""

import re

from barlow_jax.planning.hlo import COLLECTIVES, GPU_LIBRARY_CALL, HloModule, Instruction, array_bytes

_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "iota", "partition-id"}
_FREE |= {"while", "call", "conditional", "after-all", "opt-barrier"}
_SLICES = ("dynamic-slice", "slice", "gather")


def hbm_bytes(module: HloModule) -> int:
    """Return the bytes that one run of the program reads and writes on one chip."""
    total = sum(collective.bytes for collective in module.collectives() if collective.fused)
    for name, times in module.runs.items():
        if name not in module.fused:
            body = module.computations[name]
            types = {instruction.name: instruction.result for instruction in body}
            total += times * sum(_instruction_bytes(module, instruction, types) for instruction in body)
    return total


def _instruction_bytes(module: HloModule, instruction: Instruction, types: dict[str, str]) -> int:
    if instruction.op in _FREE or instruction.op.endswith("-done"):
        return 0
    operands = [types.get(name, "") for name in instruction.operands]
    if instruction.op == "fusion":
        body = module.computations[instruction.callee]
        reads = (_bytes_read(module, body, index, operand) for index, operand in enumerate(operands))
        return _bytes_written(instruction, body) + sum(reads)
    written = array_bytes(instruction.result, any_memory=False)
    if GPU_LIBRARY_CALL in instruction.line and instruction.result.startswith("("):
        written = written[:-1]  # the last result is the kernel's workspace
    if instruction.op == "slice-start":  # source, slice, bookkeeping: reads as much as it writes
        return max(array_bytes(instruction.result)[1:], default=0) + sum(written[1:])
    if instruction.op.endswith("-start"):  # the result contains operands and results
        return sum(written)
    return sum(written) + sum(sum(array_bytes(operand, any_memory=False)) for operand in operands)


def _bytes_written(fusion: Instruction, body: list[Instruction]) -> int:
    """Count all of each result, the part that is updated in place, or nothing if it is only passed on."""
    by_name = {instruction.name: instruction for instruction in body}
    root = next(instruction for instruction in body if instruction.line.lstrip().startswith("ROOT"))
    results = root.operands if root.op == "tuple" else (root.name,)
    aliases = fusion.line.split("output_to_operand_aliasing")[-1]
    aliased = {int(n) for n in re.findall(r"\{(\d+)\}: \(", aliases)}
    sizes = array_bytes(fusion.result, any_memory=False)
    total = 0
    for index, (name, size) in enumerate(zip(results, sizes, strict=False)):
        producer = by_name[name]
        while producer.op == "bitcast":
            producer = by_name[producer.operands[0]]
        if producer.op == "dynamic-update-slice":
            total += min(size, sum(array_bytes(by_name[producer.operands[1]].result)))
        elif producer.op != "parameter" and not (index in aliased and producer.op in COLLECTIVES):
            total += size
    return total


def _bytes_read(module: HloModule, body: list[Instruction], index: int, operand: str) -> int:
    """Count all of a fusion's operand, or only its slices if the fusion reads nothing else."""
    whole = sum(array_bytes(operand, any_memory=False))
    parameter = next((each for each in body if f" parameter({index})" in each.line), None)
    if whole == 0 or parameter is None:
        return whole
    names, total = [parameter.name], 0
    while names:
        name = names.pop()
        for user in body:
            if name not in user.operands or user.op == "tuple" or user.op in COLLECTIVES:
                continue
            if user.op == "bitcast":
                names.append(user.name)
            elif user.op in _SLICES:
                total += sum(array_bytes(user.result))
            elif user.op == "fusion":
                inner = module.computations[user.callee]
                total += _bytes_read(module, inner, user.operands.index(name), operand)
            elif not (user.op == "dynamic-update-slice" and user.operands[0] == name):
                return whole
    return min(total, whole)
