"""Rotary position embedding."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from litgpt.domain.architecture import (
    FixedFactors,
    LinearScaling,
    Llama3Scaling,
    QueryScaling,
    Rotary,
    YarnScaling,
)

_KEPT = 64


class Rotation(NamedTuple):
    """What `rotate` multiplies by.

    Attributes:
        cos: Cosines, (B or 1, T, 1, R), of the R numbers of a head that are rotated.
        sin: Sines with the sign of what they are multiplied by, of the same shape.
        interleaved: Whether neighbours are a pair.

    """

    cos: Tensor
    sin: Tensor
    interleaved: bool


class Turn(NamedTuple):
    """What the positions of one call do to queries and keys in a layer.

    Attributes:
        rotation: Turns both; None turns nothing.
        growth: Multiplies queries, (B or 1, T, 1, 1); None leaves them.

    """

    rotation: Rotation | None
    growth: Tensor | None = None


def growth(scaling: QueryScaling | None, positions: Tensor, dtype: torch.dtype) -> Tensor | None:
    """Return what queries at `positions` (B or 1, T) are multiplied by, (B or 1, T, 1, 1)."""
    if scaling is None:
        return None
    grown = ((positions + scaling.ahead) // scaling.every).float()
    return (1 + scaling.beta * grown.log1p()).to(dtype)[:, :, None, None]


def frequencies(rotary: Rotary, device: torch.device) -> Tensor:
    """Return the angle per position of each pair of numbers, (R/2,), in float32.

    Args:
        rotary: As it is for one text: `Rotary.for_text` was called.
        device: Where to return it.

    """
    exponents = torch.arange(0, rotary.size, 2, dtype=torch.float32, device=device) / rotary.size
    plain = 1.0 / rotary.base**exponents
    if rotary.turning is not None:
        plain[rotary.turning :] = 0.0
    match rotary.scaling:
        case None:
            return plain
        case LinearScaling(factor=factor):
            return plain / factor
        case FixedFactors(factors=factors):
            return plain / torch.tensor(factors, device=device)
        case Llama3Scaling() as scaling:
            return _llama3(plain, scaling)
        case YarnScaling() as scaling:
            return _yarn(plain, scaling, rotary)
        case unresolved:
            raise AssertionError(unresolved)


class Frequencies:
    """The frequencies of the last texts: those that depend on a text's length would be without end."""

    def __init__(self) -> None:
        # Not a buffer: `.to(bfloat16)` would round it, and far positions would turn by the wrong angle.
        self._kept: dict[tuple[Rotary, torch.device], Tensor] = {}

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._kept)

    def __call__(self, rotary: Rotary, device: torch.device) -> Tensor:
        """Return what `frequencies` does."""
        key = (rotary, device)
        found = self._kept.pop(key, None)
        if found is None:
            found = frequencies(rotary, device)
            if len(self._kept) >= _KEPT:  # each step is one of dict's own, since threads share this
                self._kept.pop(list(self._kept)[0], None)  # noqa: RUF015 - next(iter()) is two steps
        self._kept[key] = found  # what was used last is last
        return found


def _llama3(plain: Tensor, scaling: Llama3Scaling) -> Tensor:
    # A wavelength that fits the original context `high` times is kept, one that fits it less than `low` times
    # is stretched by the factor, and between the two the frequency is blended.
    fits = scaling.original_context * plain / (2 * math.pi)
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    keep = ((fits - low) / (high - low)).clamp(0, 1)
    return keep * plain + (1 - keep) * plain / scaling.factor


def _yarn(plain: Tensor, scaling: YarnScaling, rotary: Rotary) -> Tensor:
    # The pair that turns `turns` times within the original context; equation 17 of arXiv:2309.00071, solved.
    def pair(turns: float) -> float:
        fitting = scaling.original_context / (turns * 2 * math.pi)
        return rotary.size * math.log(fitting) / (2 * math.log(rotary.base))

    low, high = pair(scaling.beta_fast), pair(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, rotary.size - 1)
    pairs = torch.arange(len(plain), dtype=torch.float32, device=plain.device)
    stretch = ((pairs - low) / (high - low if high != low else 0.001)).clamp(0, 1)
    return plain * (1 - stretch) + plain / scaling.factor * stretch


def rotation(rotary: Rotary, frequencies: Tensor, positions: Tensor, dtype: torch.dtype) -> Rotation:
    """Return what turns each head's numbers by its position's angles.

    Args:
        rotary: How pairs lie, and whether they are stretched in size.
        frequencies: (R/2,) from `frequencies`.
        positions: (B or 1, T), whole numbers.
        dtype: What to return it in; angles are computed in float32.

    """
    angles = positions[..., None].float() * frequencies
    cos, sin = angles.cos(), angles.sin()
    magnitude = getattr(rotary.scaling, "magnitude", 1.0)
    if magnitude != 1:
        cos, sin = cos * magnitude, sin * magnitude
    cos, sin = cos.to(dtype), sin.to(dtype)
    # With the sign in the table, rotating needs no negation and no concatenation.
    if rotary.interleaved:
        cos, sin = torch.stack((cos, cos), -1).flatten(-2), torch.stack((-sin, sin), -1).flatten(-2)
    else:
        cos, sin = torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)
    return Rotation(cos[:, :, None], sin[:, :, None], rotary.interleaved)


def rotate(x: Tensor, by: Rotation) -> Tensor:
    """Return `x` (B, T, heads, E) with each pair of its first R numbers turned by its position's angle."""
    size = by.cos.shape[-1]
    if size != x.shape[-1]:
        return torch.cat((rotate(x[..., :size], by), x[..., size:]), -1)
    neighbours = by.interleaved
    exchanged = x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2) if neighbours else x.roll(size // 2, -1)
    return torch.addcmul(x * by.cos, exchanged, by.sin)
