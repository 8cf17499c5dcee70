"""The base class of quantized linear layers."""

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from litgpt.adapters.pytorch.ops.blockwise_matmul import WeightRows, input_gradient, matmul_blockwise
from litgpt.adapters.pytorch.ops.dtypes import TORCH_DTYPES
from litgpt.adapters.pytorch.ops.linear import matmul_plan_for
from litgpt.domain.quantization import Quantization


class QuantizedLinear(nn.Module):
    """A linear layer whose quantized weight is stored in buffers.

    The weight is frozen, but gradients flow to the input, as QLoRA requires (arXiv:2305.14314). Buffers move
    with the module, but keep their dtypes: `.to(torch.float32)` does not convert them. The kernel is selected
    on each call by the device, dtype and number of rows of the input.
    """

    bias: Tensor | None
    shape: tuple[int, int]
    """(out, in)"""

    def __init__(self, quantization: Quantization, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.quantization = quantization
        self.register_parameter("bias", bias)

    @classmethod
    def from_weight(cls, weight: Tensor, quantization: Quantization, bias: nn.Parameter | None) -> Self:
        """Quantize a weight (out, in) in float32, on the device of the layer."""
        raise NotImplementedError

    def rows(self, block: slice) -> Tensor:
        """Return dequantized rows of the weight, in float32. `block` must start at a multiple of 64."""
        raise NotImplementedError

    def dequantize(self) -> Tensor:
        return self.rows(slice(0, self.shape[0]))

    def matmul_factors(self, dtype: torch.dtype) -> tuple[WeightRows, Tensor | None]:
        """Return rows of a matrix to multiply by, and the scales (out) of the product or None."""
        del dtype
        return self.rows, None

    def packed_matmul(self, x: Tensor) -> Callable[[], Tensor] | None:
        """Return a kernel that multiplies `x` (N, in) by the packed weight; None if there is none for `x`."""
        del x
        return None

    def matmul(self, x: Tensor) -> Tensor:
        """Return (…, out) for `x` (…, in), without the bias and without gradients."""
        flat = x.reshape(-1, x.shape[-1])
        kernel = self.packed_matmul(flat)
        out = self.dequantized_matmul(flat) if kernel is None else kernel()
        return out.view(*x.shape[:-1], -1)

    def dequantized_matmul(self, x: Tensor) -> Tensor:
        """Return (N, out) for `x` (N, in); the weight is dequantized in blocks."""
        rows, scales = self.matmul_factors(dtype := dequantized_dtype(self.quantization, x))
        out = matmul_blockwise(x, rows, self.shape[0], dtype)
        return (out if scales is None else out.mul_(scales)).to(x.dtype)

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() and x.requires_grad:
            flat = _DequantizedMatmul.apply(x.reshape(-1, x.shape[-1]), self)  # type: ignore[no-untyped-call]
            out: Tensor = flat.view(*x.shape[:-1], -1)
        else:
            out = self.matmul(x)
        return out if self.bias is None else out + self.bias

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:  # noqa: FBT001, FBT002 - torch's
        stored, self._buffers = self._buffers, {}
        try:
            super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        finally:
            self._buffers = stored
        for name, buffer in stored.items():
            moved = None if buffer is None else fn(buffer)
            if moved is not None and buffer is not None and moved.dtype != buffer.dtype:
                moved = buffer.to(moved.device)
            stored[name] = moved
        return self

    @property
    def storage_spec(self) -> dict[str, tuple[int, torch.dtype]]:
        """Number of columns and dtype of the tensors to save: `codes`, `scales` and perhaps `zeros`."""
        raise NotImplementedError

    def stored_tensor(self, role: str) -> Tensor:
        """Return a tensor of `storage_spec`, (out, columns)."""
        raise NotImplementedError


class _DequantizedMatmul(torch.autograd.Function):
    """The product with the dequantized weight, which is dequantized again in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: QuantizedLinear) -> Tensor:
        """Return (N, out) for `x` (N, in), without the bias."""
        ctx.layer = layer
        return layer.dequantized_matmul(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        layer: QuantizedLinear = ctx.layer
        rows, scales = layer.matmul_factors(dtype := dequantized_dtype(layer.quantization, gradient))
        scaled = gradient if scales is None else gradient.to(dtype) * scales
        return input_gradient(scaled, rows, layer.shape[1], dtype).to(gradient.dtype), None


def dequantized_dtype(quantization: Quantization, x: Tensor) -> torch.dtype:
    """Return the dtype to which a weight is dequantized for a product with `x`."""
    return (
        TORCH_DTYPES[matmul_plan_for(quantization, x.dtype).large_dtype]
        if x.device.type == "cpu"
        else x.dtype
    )


def is_small_batch(quantization: Quantization, x: Tensor) -> bool:
    """Return whether `x` (N, in) has few enough rows for the packed kernel of this CPU."""
    if x.device.type != "cpu":
        return False
    rows = matmul_plan_for(quantization, x.dtype).max_small_rows
    return rows is None or len(x) <= rows
