"""What every quantised linear layer is."""

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from litgpt.adapters.pytorch.dtypes import TORCH
from litgpt.adapters.pytorch.linear import arithmetic_of
from litgpt.adapters.pytorch.products import Rows, multiply, multiply_back
from litgpt.domain.quantization import Quantization


class QuantisedLinear(nn.Module):
    """A linear layer whose weights, quantised, are buffers.

    They are not trained, but what comes before the layer can be, and what is added to it (QLoRA: Dettmers et
    al. 2023, arXiv:2305.14314): gradients go through it to its input. Buffers move with the module and keep
    their dtypes: `.to(torch.float32)` changes what the layer computes in and not what it stores. How it
    multiplies is decided at each call, by the input's device, dtype and number of rows.

    Args:
        how: How they are quantised.
        bias: The layer's, if it has one.

    """

    bias: Tensor | None
    shape: tuple[int, int]
    """(out, in)"""

    def __init__(self, how: Quantization, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.how = how
        self.register_parameter("bias", bias)

    @classmethod
    def of(cls, weight: Tensor, how: Quantization, bias: nn.Parameter | None) -> Self:
        """Return the layer of a weight.

        Args:
            weight: (out, in) in float32, where the layer is to live.
            how: How it is to be quantised.
            bias: The layer's, if it has one.

        """
        raise NotImplementedError

    def rows(self, block: slice) -> Tensor:
        """Return rows of the weight (some of out, in) that the layer multiplies by, in float32.

        Args:
            block: Which; it begins at a multiple of 64.

        """
        raise NotImplementedError

    def dequantised(self) -> Tensor:
        """Return the weight (out, in) that the layer multiplies by, in float32."""
        return self.rows(slice(0, self.shape[0]))

    def factors(self, dtype: torch.dtype) -> tuple[Rows, Tensor | None]:
        """Return what to multiply by in a dtype: rows of a matrix, and scales (out) of the result if any."""
        del dtype
        return self.rows, None

    def packed(self, x: Tensor) -> Callable[[], Tensor] | None:
        """Return what multiplies `x` (N, in), of few rows, by the weight as it is stored; None: nothing."""
        del x
        return None

    def product(self, x: Tensor) -> Tensor:
        """Return (…, out) for `x` (…, in), without the bias; gradients end here."""
        flat = x.reshape(-1, x.shape[-1])
        few = self.packed(flat)
        out = self.converted(flat) if few is None else few()
        return out.view(*x.shape[:-1], -1)

    def converted(self, x: Tensor) -> Tensor:
        """Return (N, out) for `x` (N, in), the weight dequantized block by block."""
        rows, scales = self.factors(dtype := converts_to(self.how, x))
        out = multiply(x, rows, self.shape[0], dtype)
        return (out if scales is None else out.mul_(scales)).to(x.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Return (…, out) for `x` (…, in)."""
        if torch.is_grad_enabled() and x.requires_grad:
            flat = _Dequantised.apply(x.reshape(-1, x.shape[-1]), self)  # type: ignore[no-untyped-call]
            out: Tensor = flat.view(*x.shape[:-1], -1)
        else:
            out = self.product(x)
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
    def kept(self) -> dict[str, tuple[int, torch.dtype]]:
        """The columns and the dtype of what is stored of it: `codes`, `scales` and perhaps `zeros`."""
        raise NotImplementedError

    def part(self, role: str) -> Tensor:
        """Return what `kept` tells: (out, columns)."""
        raise NotImplementedError


class _Dequantised(torch.autograd.Function):
    """The product with what a layer's weight stands for, which is unpacked again for the way back.

    So nothing is kept for that but the layer itself.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: QuantisedLinear) -> Tensor:
        """Return (N, out) for `x` (N, in), the bias left out."""
        ctx.layer = layer
        return layer.converted(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of the input."""
        rows, scales = ctx.layer.factors(dtype := converts_to(ctx.layer.how, gradient))
        scaled = gradient if scales is None else gradient.to(dtype) * scales
        return multiply_back(scaled, rows, ctx.layer.shape[1], dtype).to(gradient.dtype), None


def converts_to(how: Quantization, x: Tensor) -> torch.dtype:
    """Return what a weight is dequantized to, for a product with `x` that is not of few rows."""
    return TORCH[arithmetic_of(how, x.dtype).many] if x.device.type == "cpu" else x.dtype


def is_few(how: Quantization, x: Tensor) -> bool:
    """Return whether `x` (N, in) has so few rows, on a CPU, that the weight is multiplied as it is stored."""
    if x.device.type != "cpu":
        return False
    rows = arithmetic_of(how, x.dtype).few_rows
    return rows is None or len(x) <= rows
