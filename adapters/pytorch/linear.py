"""Linear layers and embeddings that wait for their weights, and the way a CPU multiplies fastest."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional

from litgpt.adapters.pytorch import processor
from litgpt.adapters.pytorch.dtypes import NAMES, TORCH
from litgpt.adapters.pytorch.onednn import switch
from litgpt.adapters.pytorch.products import Converted
from litgpt.domain.arithmetic import Arithmetic, Format, arithmetic


class Linear(nn.Linear):
    """torch's, without drawing random weights that the checkpoint replaces, in the fastest arithmetic."""

    def reset_parameters(self) -> None:
        """Leave the weights uninitialised."""

    def forward(self, x: Tensor) -> Tensor:
        """Return (…, out) for `x` (…, in)."""
        return linear(x, self.weight, self.bias)


class Embedding(nn.Embedding):
    """torch's, without drawing random weights that the checkpoint replaces."""

    def reset_parameters(self) -> None:
        """Leave the weights uninitialised."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Do as `torch.nn.functional.linear`, in float32 where a CPU has no instructions for the dtype."""
    if x.device.type != "cpu":
        return functional.linear(x, weight, bias)
    result = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else weight.dtype
    if result not in (torch.bfloat16, torch.float16):
        return functional.linear(x, weight, bias)
    if x.dtype != weight.dtype and not torch.is_autocast_enabled("cpu"):
        return functional.linear(x, weight, bias)  # which says so
    how = arithmetic_of(NAMES[result], result)
    if how.few_rows is None or x.numel() <= how.few_rows * x.shape[-1]:
        return functional.linear(x, weight, bias)
    with torch.autocast("cpu", enabled=False):
        flat = x.reshape(-1, x.shape[-1])
        out: Tensor = Converted.apply(flat, weight, bias, result, TORCH[how.many])  # type: ignore[no-untyped-call]
    return out.view(*x.shape[:-1], -1)


def multiplies_in(dtype: torch.dtype) -> torch.dtype:
    """Return what this CPU multiplies many rows of a dtype in."""
    return TORCH[arithmetic_of(NAMES[dtype], dtype).many]


def arithmetic_of(weights: Format, activations: torch.dtype) -> Arithmetic:
    """Return how this CPU multiplies by weights of a format."""
    return arithmetic(weights, NAMES[activations], processor.cpu_features())


# With so few rows, bfloat16 products are bound by reading the weights, and torch's own matrix-vector kernel
# reads them about twice as fast as oneDNN does; with more, oneDNN's blocking wins (docs/decisions/onednn.md).
_FEW_ROWS = 3


def fastest_matmul(*, rows: int, dtype: torch.dtype, device: torch.device) -> AbstractContextManager[None]:
    """Choose the matrix product for `rows` rows at a time."""
    if dtype != torch.bfloat16 or device.type != "cpu":
        return nullcontext()
    return switch.set_to(on=rows > _FEW_ROWS)
