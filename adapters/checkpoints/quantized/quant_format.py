"""The interface of a quantization format: which stored tensors form which weight, and how."""

from collections.abc import Callable, Iterable, Mapping
from math import prod
from typing import TYPE_CHECKING, Protocol, TypeAlias

import attrs

from litgpt.domain.errors import CorruptFile
from litgpt.domain.weights.raw_tensor import RawTensor
from litgpt.domain.weights.tensor_info import TensorInfo

if TYPE_CHECKING:
    import torch

Shape: TypeAlias = tuple[int, ...]

FLOATS = ("F32", "BF16", "F16")
"""Allowed dtypes of scales."""

Unpack: TypeAlias = "Callable[[Mapping[str, torch.Tensor], torch.dtype], torch.Tensor]"
"""Dequantizes a weight from its parts, by role. Raises ValueError if they contradict each other."""

Blocks: TypeAlias = "Callable[[Mapping[str, torch.Tensor]], RawTensor | None] | None"
"""Presents a weight in blocks of its codes and scales; None if no block format has these values."""


@attrs.frozen
class PackedWeight:
    """A weight that is computed from several stored tensors.

    Attributes:
        storage_format: A short name of the format: `AWQ 4-bit`, `NF4`, …
        parts: The names of the stored tensors, by role.
    """

    shape: Shape
    storage_format: str
    parts: Mapping[str, str]
    unpack: Unpack = attrs.field(repr=False)
    blocks: Blocks = attrs.field(default=None, repr=False)


class QuantFormat(Protocol):
    """A quantization format with its settings."""

    @property
    def description(self) -> str:
        """The format as a predicate of "the weights are": `quantized by AWQ to 4 bits`."""
        ...

    @property
    def ignored(self) -> tuple[str, ...]:
        """Name patterns of stored tensors that belong to no weight, such as scales of activations."""
        ...

    def packed_weights(self, stored: "StoredTensors") -> dict[str, PackedWeight]:
        """Return the packed weights, by name; other tensors are stored unpacked.

        Raises:
            CorruptFile: A part is missing, or has an invalid dtype or shape.
        """
        ...


@attrs.frozen
class StoredTensors:
    """The stored tensors of a checkpoint, according to the file headers; `where` names the files in errors.

    `expected` returns the shapes that the model expects, by name, for the tensors that it uses.
    """

    where: str
    tensors: Mapping[str, TensorInfo] = attrs.field(repr=False)
    expected: Callable[[Iterable[str]], Mapping[str, Shape]] = attrs.field(repr=False)

    def prefixes_of(self, *endings: str) -> list[str]:
        """Return the part of tensor names before one of some suffixes, without duplicates, in order."""
        prefixes = (
            name.removesuffix(ending) for name in self.tensors for ending in endings if name.endswith(ending)
        )
        return [*dict.fromkeys(prefixes)]

    def require(self, name: str, *dtypes: str, purpose: str) -> TensorInfo:
        """Return a tensor that a weight (`purpose`) needs, with one of some dtypes; none allows all."""
        info = self.tensors.get(name)
        if info is None:
            raise CorruptFile(self.where, f"{purpose} is quantized, but its part {name} is missing.")
        if dtypes and info.storage_format not in dtypes:
            raise CorruptFile(
                self.where, f"{name} is stored as {info.storage_format}, expected {' or '.join(dtypes)}."
            )
        return info

    def check_shape(self, name: str, *allowed: Shape) -> None:
        """Raise CorruptFile unless an existing tensor has one of the allowed shapes."""
        shape = self.tensors[name].shape
        if shape not in allowed:
            expected = " or ".join(str([*size]) for size in allowed)
            raise CorruptFile(self.where, f"{name} has shape {[*shape]}, expected {expected}.")

    def matrix(self, name: str) -> tuple[int, int]:
        """Return the rows and columns of an existing tensor, which must be a matrix."""
        shape = self.tensors[name].shape
        if len(shape) != 2 or not prod(shape):
            raise CorruptFile(self.where, f"{name} has shape {[*shape]}, expected a matrix.")
        return shape[0], shape[1]
