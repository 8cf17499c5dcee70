"""What a quantized format has to say: which tensors of a file make which weight, and how."""

from collections.abc import Callable, Iterable, Mapping
from math import prod
from typing import TYPE_CHECKING, Protocol, TypeAlias

import attrs

from litgpt.domain.errors import CorruptFile
from litgpt.domain.weights.tensor_info import TensorInfo

if TYPE_CHECKING:
    import torch

Shape: TypeAlias = tuple[int, ...]

FLOATS = ("F32", "BF16", "F16")
"""What scales are stored as."""

Unpack: TypeAlias = "Callable[[Mapping[str, torch.Tensor], torch.dtype], torch.Tensor]"
"""Computes a weight in a dtype of its parts, by role. It raises ValueError if they contradict each other."""


@attrs.frozen
class PackedWeight:
    """A weight that is computed of several stored tensors.

    Attributes:
        shape: The weight's.
        storage_format: A short name of the format: `AWQ 4-bit`, `NF4`, …
        parts: The stored tensors, by their role.
        unpack: Computes it.

    """

    shape: Shape
    storage_format: str
    parts: Mapping[str, str]
    unpack: Unpack = attrs.field(repr=False)


class QuantFormat(Protocol):
    """A way to store weights in fewer bits, with its settings."""

    @property
    def description(self) -> str:
        """How it is told, to follow "it is": `quantized by AWQ to 4 bits`."""
        ...

    @property
    def ignored(self) -> tuple[str, ...]:
        """Patterns of names of stored tensors that no weight is made of: scales of activations, say."""
        ...

    def packed_weights(self, stored: "StoredTensors") -> dict[str, PackedWeight]:
        """Return the weights that are packed, by their names; the others are as they are stored.

        Raises:
            CorruptFile: A part is missing, or has a dtype or a shape that cannot be right.

        """
        ...


@attrs.frozen
class StoredTensors:
    """The tensors that files hold, as their headers tell.

    Attributes:
        where: What to call the files in an error.
        tensors: Every tensor, by name.
        expected: Returns the shapes that the model wants of tensors, by name, for those that it uses.

    """

    where: str
    tensors: Mapping[str, TensorInfo] = attrs.field(repr=False)
    expected: Callable[[Iterable[str]], Mapping[str, Shape]] = attrs.field(repr=False)

    def prefixes_of(self, *endings: str) -> list[str]:
        """Return what comes before one of some endings in the names of tensors, each once, in order."""
        found = (
            name.removesuffix(ending) for name in self.tensors for ending in endings if name.endswith(ending)
        )
        return [*dict.fromkeys(found)]

    def require(self, name: str, *dtypes: str, purpose: str) -> TensorInfo:
        """Return a tensor that a weight needs.

        Args:
            name: The tensor.
            dtypes: What it may be stored as; none given allows all.
            purpose: The weight.

        Raises:
            CorruptFile: It is not there, or stored as something else.

        """
        info = self.tensors.get(name)
        if info is None:
            raise CorruptFile(
                self.where, f"{purpose} is quantized, and {name}, which belongs to it, is missing."
            )
        if dtypes and info.storage_format not in dtypes:
            raise CorruptFile(
                self.where, f"{name} is stored as {info.storage_format}, and should be {' or '.join(dtypes)}."
            )
        return info

    def check_shape(self, name: str, *allowed: Shape) -> None:
        """Raise CorruptFile unless a tensor that is there has one of some shapes."""
        shape = self.tensors[name].shape
        if shape not in allowed:
            right = " or ".join(str([*one]) for one in allowed)
            raise CorruptFile(self.where, f"{name} has the shape {[*shape]}, and should have {right}.")

    def matrix(self, name: str) -> tuple[int, int]:
        """Return the rows and columns of a tensor that is there.

        Raises:
            CorruptFile: It is no matrix, or an empty one.

        """
        shape = self.tensors[name].shape
        if len(shape) != 2 or not prod(shape):
            raise CorruptFile(self.where, f"{name} has the shape {[*shape]}, and should be a matrix.")
        return shape[0], shape[1]
