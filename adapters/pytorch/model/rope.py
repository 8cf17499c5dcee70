"""Rotary position embedding."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from litgpt.domain.model import (
    AttentionTemperature,
    FactorScaling,
    LinearScaling,
    Llama3Scaling,
    RopeSpec,
    YarnScaling,
)

_MAX_CACHED = 64


class RopeTable(NamedTuple):
    """What `rotate` multiplies by.

    Attributes:
        cos: Cosines, (B or 1, T, 1, R), of the R numbers of a head that are rotated.
        sin: Sines with the sign of what they are multiplied by, of the same shape.
        interleaved: Whether neighbors are a pair.

    """

    cos: Tensor
    sin: Tensor
    interleaved: bool


class PositionInfo(NamedTuple):
    """What the positions of one call do to queries and keys in a layer.

    Attributes:
        rope: Turns both; None turns nothing.
        query_temperature: Multiplies queries, (B or 1, T, 1, 1); None leaves them.

    """

    rope: RopeTable | None
    query_temperature: Tensor | None = None


def query_temperature(
    scaling: AttentionTemperature | None, positions: Tensor, dtype: torch.dtype
) -> Tensor | None:
    """Return what queries at `positions` (B or 1, T) are multiplied by, (B or 1, T, 1, 1)."""
    if scaling is None:
        return None
    grown = ((positions + scaling.offset) // scaling.floor_scale).float()
    return (1 + scaling.scale * grown.log1p()).to(dtype)[:, :, None, None]


def inverse_frequencies(rope: RopeSpec, device: torch.device) -> Tensor:
    """Return the angle per position of each pair of numbers, (R/2,), in float32.

    Args:
        rope: As it is for one text: `RopeSpec.for_text` was called.
        device: Where to return it.

    """
    exponents = torch.arange(0, rope.rotary_dim, 2, dtype=torch.float32, device=device) / rope.rotary_dim
    plain = 1.0 / rope.theta**exponents
    if rope.num_rotated_pairs is not None:
        plain[rope.num_rotated_pairs :] = 0.0
    match rope.scaling:
        case None:
            return plain
        case LinearScaling(factor=factor):
            return plain / factor
        case FactorScaling(factors=factors):
            return plain / torch.tensor(factors, device=device)
        case Llama3Scaling() as scaling:
            return _llama3(plain, scaling)
        case YarnScaling() as scaling:
            return _yarn(plain, scaling, rope)
        case unresolved:
            raise AssertionError(unresolved)


class InverseFrequencyCache:
    """The frequencies of the last texts: those that depend on a text's length would be without end."""

    def __init__(self) -> None:
        # Not a buffer: `.to(bfloat16)` would round it, and far positions would turn by the wrong angle.
        self._kept: dict[tuple[RopeSpec, torch.device], Tensor] = {}

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._kept)

    def __call__(self, rope: RopeSpec, device: torch.device) -> Tensor:
        """Return what `frequencies` does."""
        key = (rope, device)
        found = self._kept.pop(key, None)
        if found is None:
            found = inverse_frequencies(rope, device)
            if len(self._kept) >= _MAX_CACHED:  # each step is one of dict's own, since threads share this
                self._kept.pop(list(self._kept)[0], None)  # noqa: RUF015 - next(iter()) is two steps
        self._kept[key] = found  # what was used last is last
        return found


def _llama3(inv_freq: Tensor, scaling: Llama3Scaling) -> Tensor:
    # A wavelength that fits the original context `high` times is kept, one that fits it less than `low` times
    # is stretched by the factor, and between the two the frequency is blended.
    fits = scaling.original_max_position * inv_freq / (2 * math.pi)
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    keep = ((fits - low) / (high - low)).clamp(0, 1)
    return keep * inv_freq + (1 - keep) * inv_freq / scaling.factor


def _yarn(inv_freq: Tensor, scaling: YarnScaling, rope: RopeSpec) -> Tensor:
    # The pair that turns `turns` times within the original context; equation 17 of arXiv:2309.00071, solved.
    def pair(turns: float) -> float:
        fitting = scaling.original_max_position / (turns * 2 * math.pi)
        return rope.rotary_dim * math.log(fitting) / (2 * math.log(rope.theta))

    low, high = pair(scaling.beta_fast), pair(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, rope.rotary_dim - 1)
    pairs = torch.arange(len(inv_freq), dtype=torch.float32, device=inv_freq.device)
    stretch = ((pairs - low) / (high - low if high != low else 0.001)).clamp(0, 1)
    return inv_freq * (1 - stretch) + inv_freq / scaling.factor * stretch


def rope_table(rope: RopeSpec, inv_freq: Tensor, positions: Tensor, dtype: torch.dtype) -> RopeTable:
    """Return what turns each head's numbers by its position's angles.

    Args:
        rope: How pairs lie, and whether they are stretched in size.
        inv_freq: (R/2,) from `inv_freq`.
        positions: (B or 1, T), whole numbers.
        dtype: What to return it in; angles are computed in float32.

    """
    angles = positions[..., None].float() * inv_freq
    cos, sin = angles.cos(), angles.sin()
    magnitude = getattr(rope.scaling, "attention_factor", 1.0)
    if magnitude != 1:
        cos, sin = cos * magnitude, sin * magnitude
    cos, sin = cos.to(dtype), sin.to(dtype)
    # With the sign in the table, rotating needs no negation and no concatenation.
    if rope.interleaved:
        cos, sin = torch.stack((cos, cos), -1).flatten(-2), torch.stack((-sin, sin), -1).flatten(-2)
    else:
        cos, sin = torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)
    return RopeTable(cos[:, :, None], sin[:, :, None], rope.interleaved)


def apply_rope(x: Tensor, table: RopeTable) -> Tensor:
    """Return `x` (B, T, heads, E) with each pair of its first R numbers turned by its position's angle."""
    size = table.cos.shape[-1]
    if size != x.shape[-1]:
        return torch.cat((apply_rope(x[..., :size], table), x[..., size:]), -1)
    neighbours = table.interleaved
    exchanged = x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2) if neighbours else x.roll(size // 2, -1)
    return torch.addcmul(x * table.cos, exchanged, table.sin)
