"""Scales that are powers of two: a byte with the exponent plus 127 (OCP Microscaling Formats 1.0, E8M0)."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

EXPONENT_BIAS = 127
NAN_BYTE = 255


def e8m0_to_float32(exponents: "torch.Tensor") -> "torch.Tensor":
    """Return what bytes stand for, in float32, which has all of it."""
    import torch

    table = torch.tensor([*(2.0 ** (byte - EXPONENT_BIAS) for byte in range(NAN_BYTE)), float("nan")])
    scales: torch.Tensor = table[exponents.int()]
    return scales
