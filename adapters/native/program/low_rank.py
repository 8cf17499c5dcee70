"""Change a program for an adapter: updates of linear layers, and another LM head."""

from collections.abc import Mapping
from typing import Any

import attrs

from litgpt.adapters.native.program.instructions import Instruction, Opcode, Program, ProgramTensor
from litgpt.domain.lora.weight_changes import LowRankUpdate


def add_low_rank(
    program: Program, updates: Mapping[str, LowRankUpdate[Any]]
) -> tuple[Program, frozenset[str]]:
    """Add the products of updates after those of their layers; return the program and the layers with one.

    The tensors of a layer are named `lora_A`, `lora_B` and, if the update has a bias, `lora_bias`.
    """
    tensors, instructions, found = list(program.tensors), list[Instruction](), set[str]()
    low_rank = len(program.buffer_widths)
    is_prepared = True  # whether the input of the last product is that of the last layer
    for instruction in program.instructions:
        if instruction.opcode is not Opcode.LINEAR:
            instructions.append(instruction)
            continue
        out, x, weight, bias, add, reuse = instruction.operands
        reuse = int(reuse and is_prepared)
        instructions.append(attrs.evolve(instruction, operands=(out, x, weight, bias, add, reuse)))
        is_prepared = True
        layer = program.tensors[weight].name.removesuffix(".weight")
        if (update := updates.get(layer)) is None:
            continue
        is_prepared = False
        found.add(layer)
        first = len(tensors)
        tensors += [ProgramTensor("matrix", f"{layer}.{leaf}") for leaf in ("lora_A", "lora_B")]
        offset = -1
        if update.bias is not None:
            offset = len(tensors)
            tensors.append(ProgramTensor("vector", f"{layer}.lora_bias"))
        down = (low_rank, x, first, -1, 0, 1)
        instructions.append(Instruction(Opcode.LINEAR, down, (1.0,)))
        up = (out, low_rank, first + 1, offset, 1, 0)
        instructions.append(Instruction(Opcode.LINEAR, up, instruction.parameters))
    width = max((len(updates[layer].lora_A) for layer in found), default=0)
    return (
        attrs.evolve(
            program,
            buffer_widths=(*program.buffer_widths, width) if width else program.buffer_widths,
            tensors=tuple(tensors),
            instructions=tuple(instructions),
        ),
        frozenset(found),
    )


def set_head(program: Program, weight: str, bias: str | None = None) -> Program:
    """Return the program with the matrix of another name as its LM head; with a bias if one is given."""
    *body, head = program.instructions
    tensors = list(program.tensors)
    hidden, _, old_bias = head.operands
    operands = (hidden, _number(tensors, "matrix", weight), old_bias)
    if bias is not None:
        operands = (*operands[:2], _number(tensors, "vector", bias))
    head = attrs.evolve(head, operands=operands)
    return attrs.evolve(program, tensors=tuple(tensors), instructions=(*body, head))


def _number(tensors: list[ProgramTensor], kind: Any, name: str) -> int:
    tensor = ProgramTensor(kind, name)
    if tensor not in tensors:
        tensors.append(tensor)
    return tensors.index(tensor)
