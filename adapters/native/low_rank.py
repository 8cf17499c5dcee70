"""Low-rank updates of linear layers, which a step applies to the rows of the sequences that have them."""

import ctypes
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

import numpy as np
from numpy.typing import NDArray

from litgpt.adapters.native.library import check
from litgpt.adapters.native.matrix import PackedMatrix
from litgpt.adapters.native.program.instructions import Opcode, Program
from litgpt.adapters.native.program.structure import padded_bias, vector_tensor
from litgpt.adapters.native.structures import Format, SourceFormat, Tensor, Update

if TYPE_CHECKING:
    from litgpt.domain.lora.weight_changes import LowRankUpdate

Updates: TypeAlias = "Mapping[str, LowRankUpdate[NDArray[np.float32]]]"


class NativeAdapter:
    """The updates of an adapter in the engine, for the sequences of one model; owns its matrices.

    Attributes:
        layers: The layers that it updates.
        key: What identifies it without referencing it.

    Args:
        library: The C++ library.
        model: The handle of the model.
        program: Its program.
        updates: The updates by layer; all of these layers are in `updatable_layers(program)`.
    """

    def __init__(
        self, library: ctypes.CDLL, model: ctypes.c_void_p, program: Program, updates: Updates
    ) -> None:
        self._library = library
        self.layers, self.key = frozenset(updates), object()
        numbers = updatable_layers(program)
        self._owned: list[Any] = []  # the engine reads them for as long as the adapter exists
        structures = (Update * len(updates))(
            *(
                Update(
                    numbers[layer],
                    0,
                    self._matrix(update.lora_A),
                    self._matrix(update.lora_B),
                    Tensor() if update.bias is None else self._bias(update.bias),
                )
                for layer, update in updates.items()
            )
        )
        self._handle = ctypes.c_void_p()
        new = library.litgpt_adapter_new
        check(new(model, len(updates), structures, ctypes.byref(self._handle)), "An adapter")

    def __del__(self) -> None:
        if hasattr(self, "_handle"):
            self._library.litgpt_adapter_free(self._handle)

    @property
    def handle(self) -> ctypes.c_void_p:
        """The pointer that the library takes."""
        return self._handle

    def _matrix(self, values: NDArray[np.float32]) -> Tensor:
        matrix = pack_matrix(Format.F32, values)
        self._owned.append(matrix)
        return matrix.tensor

    def _bias(self, values: NDArray[np.float32]) -> Tensor:
        padded = padded_bias(np.ascontiguousarray(values, np.float32))
        self._owned.append(padded)
        return vector_tensor(padded)


def no_adapter(name: str) -> NoReturn:
    """Raise the error for the adapter of a request to a model without any."""
    from litgpt.domain.lora.config import unknown_adapter

    raise unknown_adapter(name, (), "adapter")


def updatable_layers(program: Program) -> dict[str, int]:
    """Return the numbers of the matrices of linear layers, to which updates can be added, by layer."""
    numbers = (it.operands[2] for it in program.instructions if it.opcode is Opcode.LINEAR)
    return {program.tensors[number].name.removesuffix(".weight"): number for number in numbers}


def pack_matrix(target: Format, values: NDArray[np.float32]) -> PackedMatrix:
    """Return a matrix (out, in) in a format of the engine."""
    matrix = PackedMatrix.zeros(target, *values.shape)
    matrix.pack(SourceFormat.F32, np.ascontiguousarray(values, np.float32))
    return matrix
