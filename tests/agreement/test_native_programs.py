"""Tests of programs with a wrong operand: an error, or a program that runs, but never a crash."""

from typing import Any

import attrs
import pytest

from litgpt.adapters.native.model import NativeModel
from litgpt.adapters.native.program.coverage import unsupported_part
from litgpt.adapters.native.program.instructions import Opcode, Program
from litgpt.domain.errors import UnsupportedOperation
from tests.agreement.models import VARIANTS, pair
from tests.agreement.test_native_engine import native

NAMES = ("gemma3n", "deepseek_v3", "apertus", "gpt_oss", "opt", "llama4", "qwen3_next", "lfm2")
WRONG = (-(2**31), -1, 0, 7, 1_000_000, 2**31 - 1)


def model_with(model: NativeModel, program: Program) -> NativeModel:
    return NativeModel(
        model.architecture, program, model.weights, model.vectors, cache_format=model.cache_format
    )


def run(model: NativeModel, program: Program) -> bool:
    """Return whether the library accepts a program; it runs then."""
    try:
        changed = model_with(model, program)
    except UnsupportedOperation:
        return False
    changed.step([(changed.new_sequence(40), list(range(1, 35))), (changed.new_sequence(3), [3, 4])])
    return True


def with_operand(program: Program, number: int, operand: int, value: int) -> Program:
    instruction = program.instructions[number]
    operands = [*instruction.operands, *[0] * (15 - len(instruction.operands))]
    operands[operand] = value
    changed = attrs.evolve(instruction, operands=tuple(operands))
    instructions = (*program.instructions[:number], changed, *program.instructions[number + 1 :])
    return attrs.evolve(program, instructions=instructions)


def model_named(name: str, factory: pytest.TempPathFactory) -> NativeModel:
    variant = next((each for each in VARIANTS if each.name == name), None)
    assert variant is not None
    return native(pair(variant, factory.mktemp("programs")).actual)


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_operand_is_an_error_or_runs(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    model = model_named(name, tmp_path_factory)
    program, rejected, seen = model.program, 0, set[Opcode]()
    for number, instruction in enumerate(program.instructions):
        if instruction.opcode in seen:
            continue
        seen.add(instruction.opcode)
        for operand in range(len(instruction.operands)):
            rejected += sum(not run(model, with_operand(program, number, operand, value)) for value in WRONG)
    assert rejected > 10 * len(seen)
    assert run(model, program)


@pytest.mark.parametrize(
    ("recurrent", "conv", "message"),
    [
        *(((size, 8, 12), (80, 3), "State 1 has an invalid size") for size in (-1, 0, 1 << 20)),
        *(((4, size, 12), (80, 3), "State 1 has an invalid size") for size in (-1, 0, 1025)),
        *(((4, 8, size), (80, 3), "State 1 has an invalid size") for size in (-1, 0, 1025)),
        *(((4, 8, 12), (size, 3), "State 1 has an invalid size") for size in (-1, 0, 1 << 31)),
        *(((4, 8, 12), (80, size), "State 1 has an invalid size") for size in (-1, 65)),
        (((1 << 20) - 1, 1024, 1024), (80, 3), "State 1 is too large"),
        ((4, 8, 12), ((1 << 31) - 1, 64), "State 1 is too large"),
        ((4, 8, 12), (81, 3), "is too short"),
        ((4, 8, 12), (80, 4), "is too short"),
        ((3, 8, 12), (80, 3), "do not match the state"),
        ((4, 8, 12), ((1 << 20), 0), "is too narrow"),
        ((400, 8, 12), (80, 3), "is too narrow"),
        ((4, 9, 12), (80, 3), None),  # the values overlap with the keys, but everything exists
    ],
)
def test_a_wrong_state_is_an_error(
    recurrent: tuple[int, ...],
    conv: tuple[int, ...],
    message: str | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    model = model_named("qwen3_next", tmp_path_factory)
    first, second, third = model.program.states
    assert (second.recurrent_shape, second.conv_shape) == ((4, 8, 12), (80, 3))
    wrong = attrs.evolve(second, recurrent_shape=recurrent, conv_shape=conv)
    program = attrs.evolve(model.program, states=(first, wrong, third))
    if message is None:
        assert run(model, program)
        return
    with pytest.raises(UnsupportedOperation, match=message):
        model_with(model, program)


@pytest.mark.parametrize(
    ("name", "size", "value", "part"),
    [
        ("llama", "head_dim", 1026, "heads of more than 1,024 dimensions"),
        ("qwen3_next", "v_head_dim", 1025, "heads of more than 1,024 dimensions"),
        ("qwen3_next", "conv_kernel_size", 66, "a convolution over more than 65 tokens"),
        ("lfm2", "kernel_size", 66, "a convolution over more than 65 tokens"),
    ],
)
def test_sizes_that_the_library_refuses_are_missing_parts(
    name: str, size: str, value: int, part: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    variant = next(each for each in VARIANTS if each.name == name)
    architecture = pair(variant, tmp_path_factory.mktemp("sizes")).actual.architecture
    assert unsupported_part(architecture) is None
    layer = next(layer for layer in architecture.layers if hasattr(layer.mixer, size))
    mixer: Any = layer.mixer
    large = attrs.evolve(layer, mixer=attrs.evolve(mixer, **{size: value}))
    assert unsupported_part(attrs.evolve(architecture, layers=(large,))) == part
