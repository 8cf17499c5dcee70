"""E8M0 scales: powers of two, stored as the exponent plus 127 in a byte (OCP Microscaling Formats 1.0)."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

EXPONENT_BIAS = 127
NAN_BYTE = 255


def e8m0_to_float32(exponents: "torch.Tensor") -> "torch.Tensor":
    """Convert E8M0 bytes to float32, which represents all their values exactly."""
    import torch

    table = torch.tensor([*(2.0 ** (byte - EXPONENT_BIAS) for byte in range(NAN_BYTE)), float("nan")])
    scales: torch.Tensor = table[exponents.int()]
    return scales
