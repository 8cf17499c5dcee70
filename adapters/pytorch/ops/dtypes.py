"""Conversion of dtype names to torch dtypes."""

import torch

from litgpt.domain.weights.tensor_info import DType

TORCH_DTYPES: dict[DType, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

DTYPE_NAMES: dict[torch.dtype, DType] = {dtype: name for name, dtype in TORCH_DTYPES.items()}


def default_dtype() -> DType:
    """Return the name of torch's default dtype; float32 if the library does not support it."""
    return DTYPE_NAMES.get(torch.get_default_dtype(), "float32")
