"""What is known of a tensor from a file's header, before any of it is read."""

from collections.abc import Iterable
from math import prod
from typing import Literal, TypeAlias

import attrs

DType: TypeAlias = Literal["float32", "bfloat16", "float16"]
"""The dtypes that a model computes in, as torch names them."""

BYTES: dict[DType, int] = {"float32": 4, "bfloat16": 2, "float16": 2}


@attrs.frozen
class TensorInfo:
    """A tensor's shape and how it is stored.

    Attributes:
        shape: As torch would print it, slowest dimension first.
        stored_as: The file's own name for the format: `BF16`, `F32`, `Q4_K`, …
        nbytes: The bytes it takes in the file.

    """

    shape: tuple[int, ...]
    stored_as: str
    nbytes: int

    @property
    def numel(self) -> int:
        """How many weights it holds."""
        return prod(self.shape)


def rounded_by_bfloat16(tensors: Iterable[TensorInfo]) -> bool:
    """Return whether most weights of matrices are stored with more digits than bfloat16 has.

    Weights that are stored in fewer bits count as not: their own error is several times that of the rounding.
    """
    matrices = [one for one in tensors if len(one.shape) > 1]
    exact = sum(one.numel for one in matrices if one.stored_as in ("F64", "F32", "F16"))
    return 2 * exact > sum(one.numel for one in matrices)
