"""Tensor metadata from file headers."""

from collections.abc import Iterable, Mapping
from math import prod
from typing import Literal, TypeAlias

import attrs

DType: TypeAlias = Literal["float32", "bfloat16", "float16"]
"""Compute dtypes, with torch's names."""

DTYPE_BYTES: dict[DType, int] = {"float32": 4, "bfloat16": 2, "float16": 2}

STORAGE_FORMATS: Mapping[str, str] = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}
"""The names of compute dtypes in safetensors and GGUF files."""


@attrs.frozen
class TensorInfo:
    """A tensor's shape in torch's order, its size in the file, and its dtype in the file format's terms.

    The storage format is `BF16`, `F32`, `Q4_K`, …
    """

    shape: tuple[int, ...]
    storage_format: str
    nbytes: int

    @property
    def numel(self) -> int:
        return prod(self.shape)


def loses_precision_in_bfloat16(tensors: Iterable[TensorInfo]) -> bool:
    """Return whether most matrix weights are stored with a higher precision than bfloat16.

    Quantized weights do not count: their error is several times the rounding error of bfloat16.
    """
    matrices = [tensor for tensor in tensors if len(tensor.shape) > 1]
    exact = sum(tensor.numel for tensor in matrices if tensor.storage_format in ("F64", "F32", "F16"))
    return 2 * exact > sum(tensor.numel for tensor in matrices)
