"""Programs of the engine: instructions over buffers of activations (csrc/model/program.h)."""

from collections.abc import Sequence
from enum import IntEnum
from typing import Literal, TypeAlias

import attrs

from litgpt.domain.model.mixer import CacheSpec

TensorKind: TypeAlias = Literal["matrix", "vector", "constant"]
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


@attrs.frozen
class Instruction:
    """An operation, with operands and parameters in the order of csrc/model/program.h."""

    opcode: Opcode
    operands: tuple[int, ...]
    parameters: tuple[float, ...] = ()


@attrs.frozen
class ProgramTensor:
    """A tensor of a program: the parameter `name`, or the constant `values`."""

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
    """

    buffer_widths: tuple[int, ...]
    tensors: tuple[ProgramTensor, ...]
    instructions: tuple[Instruction, ...] = attrs.field(repr=False)
    caches: tuple[ProgramCache, ...] = attrs.field(repr=False)


@attrs.define
class ProgramBuilder:
    """Collects the parts of a program and numbers them."""

    _widths: dict[str, int] = attrs.field(factory=dict)
    _tensors: dict[ProgramTensor, int] = attrs.field(factory=dict)
    _rope_tables: dict[tuple[int, float], int] = attrs.field(factory=dict)
    _instructions: list[Instruction] = attrs.field(factory=list)
    caches: list[ProgramCache] = attrs.field(factory=list)

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

    def rope_table(self, frequencies: Sequence[float], factor: float) -> int:
        """Return the number of a table of cosines and sines, computed once for each step."""
        tensor = self.constant("inverse frequencies", frequencies)
        key = (tensor, factor)
        if key not in self._rope_tables:
            self._rope_tables[key] = len(self._rope_tables)
            self.add(Opcode.ROPE_TABLE, tensor, parameters=(factor,))
        return self._rope_tables[key]

    def add(self, opcode: Opcode, *operands: int, parameters: tuple[float, ...] = ()) -> None:
        self._instructions.append(Instruction(opcode, operands, parameters))

    def build(self) -> Program:
        return Program(
            buffer_widths=tuple(self._widths.values()),
            tensors=tuple(self._tensors),
            instructions=tuple(self._instructions),
            caches=tuple(self.caches),
        )

    def _tensor(self, tensor: ProgramTensor) -> int:
        return self._tensors.setdefault(tensor, len(self._tensors))
