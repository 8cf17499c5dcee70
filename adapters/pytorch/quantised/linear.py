"""What every quantised linear layer is."""

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from litgpt.domain.quantization import Quantization

FEW_ROWS = 8
"""With no more rows than this, torch's products of packed weights are faster than unpacking them first."""


class QuantisedLinear(nn.Module):
    """A linear layer whose weights, quantised, are buffers.

    They are not trained, but what comes before the layer can be, and what is added to it (QLoRA: Dettmers et
    al. 2023, arXiv:2305.14314): gradients go through it to its input.

    Args:
        how: How they are quantised.
        bias: The layer's, if it has one.

    """

    bias: Tensor | None

    def __init__(self, how: Quantization, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.how = how
        self.register_parameter("bias", bias)

    @classmethod
    def of(cls, weight: Tensor, how: Quantization, dtype: torch.dtype, bias: nn.Parameter | None) -> Self:
        """Return the layer of a weight.

        Args:
            weight: (out, in) in float32, where the layer is to live.
            how: How it is to be quantised.
            dtype: What the activations will be in.
            bias: The layer's, if it has one.

        """
        raise NotImplementedError

    def dequantised(self) -> Tensor:
        """Return the weight (out, in) that the layer multiplies by, in float32."""
        raise NotImplementedError

    def product(self, x: Tensor) -> Tensor:
        """Return (…, out) for `x` (…, in), with the fastest product there is; gradients end here."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Return (…, out) for `x` (…, in)."""
        if not (torch.is_grad_enabled() and x.requires_grad):
            return self.product(x)
        out: Tensor = _Dequantised.apply(x, self)  # type: ignore[no-untyped-call]
        return out if self.bias is None else out + self.bias

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
        """Return (…, out) for `x` (…, in), the bias left out."""
        ctx.layer = layer
        return functional.linear(x, layer.dequantised().to(x.dtype))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of the input."""
        (gradient,) = gradients
        return gradient @ ctx.layer.dequantised().to(gradient.dtype), None


def is_fast(weight: Tensor, dtype: torch.dtype) -> bool:
    """Return whether torch has a fast product for a weight (out, in) of this shape, in 8 or in 4 bits.

    Its products in 8 bits read past the end of rows whose length is no multiple of their step, so this is
    also what keeps them from being used there.
    """
    outputs, inputs = weight.shape
    return weight.device.type == "cpu" and dtype == torch.bfloat16 and not outputs % 16 and not inputs % 32
