"""Rotary position embedding."""

import math
from typing import TypeAlias

import torch
from torch import Tensor

from litgpt.domain.architecture import LinearScaling, Llama3Scaling, Rotary

Rotation: TypeAlias = tuple[Tensor, Tensor]
"""Cosines and signed sines, both (B or 1, T, 1, E): what `rotate` multiplies by."""


def frequencies(rotary: Rotary, device: torch.device) -> Tensor:
    """Return the angle per position of each pair of numbers, (E/2,), in float32."""
    exponents = torch.arange(0, rotary.size, 2, dtype=torch.float32, device=device) / rotary.size
    plain = 1.0 / rotary.base**exponents
    match rotary.scaling:
        case None:
            return plain
        case LinearScaling(factor=factor):
            return plain / factor
        case Llama3Scaling() as scaling:
            return _llama3(plain, scaling)


def _llama3(plain: Tensor, scaling: Llama3Scaling) -> Tensor:
    # A wavelength that fits the original context `high` times is kept, one that fits it less than `low` times
    # is stretched by the factor, and between the two the frequency is blended.
    fits = scaling.original_context * plain / (2 * math.pi)
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    keep = ((fits - low) / (high - low)).clamp(0, 1)
    return keep * plain + (1 - keep) * plain / scaling.factor


def rotation(frequencies: Tensor, positions: Tensor, dtype: torch.dtype) -> Rotation:
    """Return what turns each head's numbers by its position's angles.

    Args:
        frequencies: (E/2,), from `frequencies`.
        positions: (B or 1, T), whole numbers.
        dtype: What to return it in; angles are computed in float32.

    """
    angles = positions[..., None].float() * frequencies
    cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
    # With the sign of the first half in the table, rotating needs no negation and no concatenation.
    return torch.cat((cos, cos), -1)[:, :, None], torch.cat((-sin, sin), -1)[:, :, None]


def rotate(x: Tensor, by: Rotation) -> Tensor:
    """Return `x` (B, T, heads, E) with each pair (i, i + E/2) turned by its position's angle."""
    cos, sin = by
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)
