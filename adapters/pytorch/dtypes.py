"""The domain's dtypes as torch's."""

import torch

from litgpt.domain.tensors import DType

TORCH: dict[DType, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

NAMES: dict[torch.dtype, DType] = {dtype: name for name, dtype in TORCH.items()}

STORED_AS: dict[DType, str] = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}
"""What safetensors calls them."""


def default_dtype() -> DType:
    """Return torch's default dtype by its name; float32 if it has none here."""
    return NAMES.get(torch.get_default_dtype(), "float32")
