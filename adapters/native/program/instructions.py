"""Programs of the engine: instructions over buffers of activations (csrc/model/program.h)."""

from collections.abc import Sequence
from enum import IntEnum
from operator import is_
from typing import Literal, TypeAlias

import attrs

from litgpt.adapters.native.program.frequencies import inverse_frequencies
from litgpt.domain.model import RopeSpec, SinusoidalSpec
from litgpt.domain.model.mixer import CacheSpec

TensorKind: TypeAlias = Literal["matrix", "vector", "constant", "sinusoidal"]
"""A packed matrix, a float32 vector of a checkpoint, or a float32 vector that the program contains."""


class Opcode(IntEnum):
    """The operations of csrc/model/program.h, with the same numbers."""

    EMBED = 0
    EMBED_POSITION = 1
    NORM = 2
    LINEAR = 3
    ROPE = 4
    CLAMP = 5
    TEMPERATURE = 6
    ATTEND = 7
    ACTIVATE = 8
    ADD = 9
    COPY = 10
    HEAD = 11
    ROPE_TABLE = 12
    SWIGLU = 13
    GATE = 14
    ROUTE = 15
    EXPERTS = 16
    SCALE = 17
    TANH = 18
    XIELU = 19
    SPARSIFY = 20
    MATCH_RMS = 21
    MIX = 22
    SPREAD = 23
    CAUSAL_CONV = 24
    GATED_DELTA = 25


@attrs.frozen
class Instruction:
    """An operation, with operands and parameters in the order of csrc/model/program.h."""

    opcode: Opcode
    operands: tuple[int, ...]
    parameters: tuple[float, ...] = ()


@attrs.frozen
class ProgramTensor:
    """A tensor of a program: the parameter `name`, or the constant `values`.

    A `sinusoidal` table of positions is computed from its size and `SinusoidalSpec.num_steps`.
    """

    kind: TensorKind
    name: str
    values: tuple[float, ...] = attrs.field(default=(), repr=False)


@attrs.frozen
class ProgramCache:
    """The KV cache of a layer; `window` is 0 without a sliding window."""

    spec: CacheSpec
    window: int
    chunked: bool


@attrs.frozen(kw_only=True)
class Program:
    """A model as the engine executes it.

    Attributes:
        buffer_widths: Number of float32 values per token of each buffer.
        caches: One for each layer.
        states: The sizes of the recurrent states, in the order in which instructions number them.
        ropes: The RoPE of each table of cosines and sines, in the order of the instructions.
    """

    buffer_widths: tuple[int, ...]
    tensors: tuple[ProgramTensor, ...]
    instructions: tuple[Instruction, ...] = attrs.field(repr=False)
    caches: tuple[ProgramCache, ...] = attrs.field(repr=False)
    states: tuple[CacheSpec, ...] = attrs.field(repr=False)
    ropes: tuple[RopeSpec, ...]

    def rope_values(self, length: int) -> tuple[float, ...]:
        """Return the inverse frequencies and the factor of each table, for a sequence of `length` tokens.

        Empty if no table depends on the length.
        """
        specs = [rope.for_length(length) for rope in self.ropes]
        if all(map(is_, specs, self.ropes)):
            return ()
        return tuple(
            value for rope in specs for value in (*inverse_frequencies(rope), attention_factor(rope))
        )


@attrs.define
class ProgramBuilder:
    """Collects the parts of a program and numbers them."""

    _widths: dict[str, int] = attrs.field(factory=dict)
    _tensors: dict[ProgramTensor, int] = attrs.field(factory=dict)
    _ropes: dict[object, RopeSpec] = attrs.field(factory=dict)
    _instructions: list[Instruction] = attrs.field(factory=list)
    caches: list[ProgramCache] = attrs.field(factory=list)
    states: list[CacheSpec] = attrs.field(factory=list)

    def buffer(self, name: str, width: int) -> int:
        """Return the number of a buffer, which is as wide as its widest use."""
        self._widths[name] = max(width, self._widths.get(name, 0))
        return list(self._widths).index(name)

    def matrix(self, name: str) -> int:
        return self._tensor(ProgramTensor("matrix", name))

    def vector(self, name: str) -> int:
        return self._tensor(ProgramTensor("vector", name))

    def optional_vector(self, name: str, *, exists: bool) -> int:
        return self.vector(name) if exists else -1

    def constant(self, name: str, values: Sequence[float]) -> int:
        return self._tensor(ProgramTensor("constant", name, tuple(values)))

    def sinusoidal_table(self, rows: int, width: int, spec: SinusoidalSpec) -> int:
        return self._tensor(ProgramTensor("sinusoidal", "positions", (rows, width, spec.num_steps)))

    def rope_table(self, rope: RopeSpec) -> int:
        """Return the number of a table of cosines and sines, computed once for each step."""
        shortest = rope.for_length(1)
        factor = attention_factor(shortest)
        tensor = self.constant("inverse frequencies", inverse_frequencies(shortest))
        key = (tensor, factor, rope.scaling if shortest is not rope else None)
        if key not in self._ropes:
            self._ropes[key] = rope
            self.add(Opcode.ROPE_TABLE, tensor, parameters=(factor,))
        return list(self._ropes).index(key)

    def add(self, opcode: Opcode, *operands: int, parameters: tuple[float, ...] = ()) -> None:
        self._instructions.append(Instruction(opcode, operands, parameters))

    def build(self) -> Program:
        return Program(
            buffer_widths=tuple(self._widths.values()),
            tensors=tuple(self._tensors),
            instructions=tuple(self._instructions),
            caches=tuple(self.caches),
            states=tuple(self.states),
            ropes=tuple(self._ropes.values()),
        )

    def _tensor(self, tensor: ProgramTensor) -> int:
        return self._tensors.setdefault(tensor, len(self._tensors))


def attention_factor(rope: RopeSpec) -> float:
    """Return the factor of cosines and sines of a RoPE, for one length."""
    return float(getattr(rope.scaling, "attention_factor", 1.0))
