"""What every quantized linear layer is."""

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
    """A linear layer whose weights, quantized, are buffers.

    They are not trained, but what comes before the layer can be, and what is added to it (QLoRA: Dettmers et
    al. 2023, arXiv:2305.14314): gradients go through it to its input. Buffers move with the module and keep
    their dtypes: `.to(torch.float32)` changes what the layer computes in and not what it stores. How it
    multiplies is decided at each call, by the input's device, dtype and number of rows.

    Args:
        quantization: How they are quantized.
        bias: The layer's, if it has one.

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
        """Return the layer of a weight.

        Args:
            weight: (out, in) in float32, where the layer is to live.
            quantization: How it is to be quantized.
            bias: The layer's, if it has one.

        """
        raise NotImplementedError

    def rows(self, block: slice) -> Tensor:
        """Return rows of the weight (some of out, in) that the layer multiplies by, in float32.

        Args:
            block: Which; it begins at a multiple of 64.

        """
        raise NotImplementedError

    def dequantize(self) -> Tensor:
        """Return the weight (out, in) that the layer multiplies by, in float32."""
        return self.rows(slice(0, self.shape[0]))

    def matmul_factors(self, dtype: torch.dtype) -> tuple[WeightRows, Tensor | None]:
        """Return what to multiply by in a dtype: rows of a matrix, and scales (out) of the result if any."""
        del dtype
        return self.rows, None

    def packed_matmul(self, x: Tensor) -> Callable[[], Tensor] | None:
        """Return what multiplies `x` (N, in), of few rows, by the weight as it is stored; None: nothing."""
        del x
        return None

    def matmul(self, x: Tensor) -> Tensor:
        """Return (…, out) for `x` (…, in), without the bias; gradients end here."""
        flat = x.reshape(-1, x.shape[-1])
        few = self.packed_matmul(flat)
        out = self.dequantized_matmul(flat) if few is None else few()
        return out.view(*x.shape[:-1], -1)

    def dequantized_matmul(self, x: Tensor) -> Tensor:
        """Return (N, out) for `x` (N, in), the weight dequantized block by block."""
        rows, scales = self.matmul_factors(dtype := dequantized_dtype(self.quantization, x))
        out = matmul_blockwise(x, rows, self.shape[0], dtype)
        return (out if scales is None else out.mul_(scales)).to(x.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return (…, out) for `x` (…, in)."""
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
        for name, one in stored.items():
            moved = None if one is None else fn(one)
            if moved is not None and one is not None and moved.dtype != one.dtype:
                moved = one.to(moved.device)
            stored[name] = moved
        return self

    @property
    def storage_spec(self) -> dict[str, tuple[int, torch.dtype]]:
        """The columns and the dtype of what is stored of it: `codes`, `scales` and perhaps `zeros`."""
        raise NotImplementedError

    def stored_tensor(self, role: str) -> Tensor:
        """Return what `kept` tells: (out, columns)."""
        raise NotImplementedError


class _DequantizedMatmul(torch.autograd.Function):
    """The product with what a layer's weight stands for, which is unpacked again for the way back.

    So nothing is kept for that but the layer itself.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: QuantizedLinear) -> Tensor:
        """Return (N, out) for `x` (N, in), the bias left out."""
        ctx.layer = layer
        return layer.dequantized_matmul(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of the input."""
        layer: QuantizedLinear = ctx.layer
        rows, scales = layer.matmul_factors(dtype := dequantized_dtype(layer.quantization, gradient))
        scaled = gradient if scales is None else gradient.to(dtype) * scales
        return input_gradient(scaled, rows, layer.shape[1], dtype).to(gradient.dtype), None


def dequantized_dtype(quantization: Quantization, x: Tensor) -> torch.dtype:
    """Return what a weight is dequantized to, for a product with `x` that is not of few rows."""
    return (
        TORCH_DTYPES[matmul_plan_for(quantization, x.dtype).large_dtype]
        if x.device.type == "cpu"
        else x.dtype
    )


def is_small_batch(quantization: Quantization, x: Tensor) -> bool:
    """Return whether `x` (N, in) has so few rows, on a CPU, that the weight is multiplied as it is stored."""
    if x.device.type != "cpu":
        return False
    rows = matmul_plan_for(quantization, x.dtype).max_small_rows
    return rows is None or len(x) <= rows
