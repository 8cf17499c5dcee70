"""Normalisation."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from litgpt.domain.architecture import Norm


class Normalise(nn.Module):
    """Normalises the last dimension, in float32 inside.

    Args:
        size: The length of the last dimension.
        norm: Its kind, its epsilon, and whether a weight and a bias follow.
        heads: Where each of several heads is normalised alone and has weights of its own: how many there are.

    """

    weight: Tensor | None
    bias: Tensor | None

    def __init__(self, size: int, norm: Norm, *, heads: int = 1) -> None:
        super().__init__()
        self.norm, self.shape, self.heads = norm, (size,), heads
        self.register_parameter("weight", nn.Parameter(torch.empty(heads * size)) if norm.weight else None)
        self.register_parameter("bias", nn.Parameter(torch.empty(heads * size)) if norm.bias else None)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` normalised, in its own shape and dtype."""
        norm, weight, bias = self.norm, self.weight, self.bias
        fused = norm.kind == "layer" or bias is None  # torch's RMSNorm takes no bias
        if fused and not norm.unit_offset and self.heads == 1:
            return self._normalised(x, weight, bias)
        # 1 + weight must be added up in float32: a small weight would vanish beside 1 in bfloat16.
        result = self._normalised(x.float(), None, None)
        if weight is not None:
            weight = weight.float() + 1.0 if norm.unit_offset else weight.float()
            result = result * weight.view(self.by_head)
        if bias is not None:
            result = result + bias.float().view(self.by_head)
        return result.to(x.dtype)

    @property
    def by_head(self) -> tuple[int, ...]:
        """The shape by which weights meet what is normalised."""
        return (self.heads, *self.shape) if self.heads > 1 else self.shape

    def _normalised(self, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        if self.norm.kind == "rms":
            return functional.rms_norm(x, self.shape, weight, self.norm.eps)
        return functional.layer_norm(x, self.shape, weight, bias, self.norm.eps)


def normalise(size: int, norm: Norm | None) -> nn.Module:
    """Return the module for a norm, or one that does nothing."""
    return nn.Identity() if norm is None else Normalise(size, norm)
