"""The domain's dtypes as torch's."""

import torch

from litgpt.domain.weights.tensor_info import DType

TORCH_DTYPES: dict[DType, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

DTYPE_NAMES: dict[torch.dtype, DType] = {dtype: name for name, dtype in TORCH_DTYPES.items()}

SAFETENSORS_DTYPES: dict[DType, str] = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}
"""What safetensors calls them."""


def default_dtype() -> DType:
    """Return torch's default dtype by its name; float32 if it has none here."""
    return DTYPE_NAMES.get(torch.get_default_dtype(), "float32")
