"""Scales that are powers of two: a byte with the exponent plus 127 (OCP Microscaling Formats 1.0, E8M0)."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

BIAS = 127
NOT_A_NUMBER = 255


def powers_of_two(exponents: "torch.Tensor") -> "torch.Tensor":
    """Return what bytes stand for, in float32, which has all of it."""
    import torch

    table = torch.tensor([*(2.0 ** (byte - BIAS) for byte in range(NOT_A_NUMBER)), float("nan")])
    scales: torch.Tensor = table[exponents.int()]
    return scales
