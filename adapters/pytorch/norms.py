"""Normalisation."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from litgpt.domain.architecture import Norm


class RMSNorm(nn.Module):
    """Divides by the root mean square over the last dimension, in float32 inside (arXiv:1910.07467).

    Args:
        size: The length of the last dimension.
        norm: Its epsilon, and whether the weight counts from 1.

    """

    def __init__(self, size: int, norm: Norm) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size))
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` normalised, in its own shape and dtype."""
        if self.norm.unit_offset:
            # 1 + weight must be added up in float32: a small weight would vanish beside 1 in bfloat16.
            return functional.rms_norm(
                x.float(), self.weight.shape, 1.0 + self.weight.float(), self.norm.eps
            ).to(x.dtype)
        return functional.rms_norm(x, self.weight.shape, self.weight, self.norm.eps)
