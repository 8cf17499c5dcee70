"""Linear layers and embeddings without initialization, and the fastest matrix product of the CPU."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from litgpt.adapters.pytorch.ops.blockwise_matmul import MixedPrecisionLinear
from litgpt.adapters.pytorch.ops.dtypes import DTYPE_NAMES, TORCH_DTYPES
from litgpt.adapters.pytorch.ops.onednn import onednn_switch
from litgpt.adapters.pytorch.runtime import cpu_features
from litgpt.domain.distribution.cpu_matmul import MatmulPlan, WeightFormat, plan_matmul


class Linear(nn.Linear):
    """`torch.nn.Linear` with uninitialized weights, computed in the fastest dtype of the CPU."""

    def reset_parameters(self) -> None:
        """Leave the weights uninitialized."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class Embedding(nn.Embedding):
    """`torch.nn.Embedding` with uninitialized weights."""

    def reset_parameters(self) -> None:
        """Leave the weights uninitialized."""


def effective_parameter(module: nn.Module, name: str) -> Any:
    """Return a parameter, or None, with the changes of the active adapter, for code that multiplies by it.

    A module with adapters has a child `lora`, whose method `updated(name, value)` applies the active one.
    """
    value, lora = getattr(module, name), getattr(module, "lora", None)
    return value if value is None or lora is None else lora.updated(name, value)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute `torch.nn.functional.linear`, in float32 if the CPU does not support the dtype natively."""
    if x.device.type != "cpu":
        return functional.linear(x, weight, bias)
    result = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else weight.dtype
    if result not in (torch.bfloat16, torch.float16):
        return functional.linear(x, weight, bias)
    if x.dtype != weight.dtype and not torch.is_autocast_enabled("cpu"):
        return functional.linear(x, weight, bias)  # raises torch's error about different dtypes
    plan = matmul_plan_for(DTYPE_NAMES[result], result)
    if plan.max_small_rows is None or x.numel() <= plan.max_small_rows * x.shape[-1]:
        return functional.linear(x, weight, bias)
    with torch.autocast("cpu", enabled=False):
        flat = x.reshape(-1, x.shape[-1])
        out: Tensor = MixedPrecisionLinear.apply(flat, weight, bias, result, TORCH_DTYPES[plan.large_dtype])  # type: ignore[no-untyped-call]
    return out.view(*x.shape[:-1], -1)


def matmul_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which this CPU multiplies many rows of a dtype."""
    return TORCH_DTYPES[matmul_plan_for(DTYPE_NAMES[dtype], dtype).large_dtype]


def matmul_plan_for(weights: WeightFormat, activations: torch.dtype) -> MatmulPlan:
    """Return the plan by which this CPU multiplies by weights of a format."""
    return plan_matmul(weights, DTYPE_NAMES[activations], cpu_features.cpu_features())


# With so few rows, bfloat16 products are bound by reading the weights, and torch's own matrix-vector kernel
# reads them about twice as fast as oneDNN does; with more, oneDNN's blocking wins (docs/decisions/onednn.md).
_SMALL_BATCH = 3


def without_onednn_for_small_batches(
    *, batch_size: int, dtype: torch.dtype, device: torch.device
) -> AbstractContextManager[None]:
    """Return a context manager that selects the kernel for `batch_size` rows."""
    if dtype != torch.bfloat16 or device.type != "cpu":
        return nullcontext()
    return onednn_switch.set_to(on=batch_size > _SMALL_BATCH)
