"""What every quantised linear layer is."""

from typing import Self

import torch
from torch import Tensor, nn

from litgpt.domain.quantization import Quantization

FEW_ROWS = 8
"""With no more rows than this, torch's products of packed weights are faster than unpacking them first."""


class QuantisedLinear(nn.Module):
    """A linear layer whose weights, quantised, are buffers. Nothing of it can be trained.

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

    @property
    def kept(self) -> dict[str, tuple[int, torch.dtype]]:
        """The columns and the dtype of what is stored of it: `codes`, `scales` and perhaps `zeros`."""
        raise NotImplementedError

    def part(self, role: str) -> Tensor:
        """Return what `kept` tells: (out, columns)."""
        raise NotImplementedError


def is_fast(weight: Tensor, dtype: torch.dtype) -> bool:
    """Return whether torch has a fast product for a weight (out, in) of this shape, in 8 or in 4 bits.

    Its products in 8 bits read past the end of rows whose length is no multiple of their step, so this is
    also what keeps them from being used there.
    """
    outputs, inputs = weight.shape
    return weight.device.type == "cpu" and dtype == torch.bfloat16 and not outputs % 16 and not inputs % 32
