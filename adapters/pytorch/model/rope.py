"""Rotary position embeddings (RoPE) and attention temperature."""

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
    """The cosines and sines of `apply_rope`.

    Attributes:
        cos: (B or 1, T, 1, R), where R is the number of rotated dimensions of a head.
        sin: (B or 1, T, 1, R), negated for the first element of each pair.
        interleaved: Whether pairs are adjacent elements (GPT-J) and not halves (GPT-NeoX).
    """

    cos: Tensor
    sin: Tensor
    interleaved: bool


class PositionInfo(NamedTuple):
    """Position-dependent inputs of attention, for one call and all layers of the same kind.

    The RoPE table is None for NoPE; the query temperature is (B or 1, T, 1, 1), or None for 1.
    """

    rope: RopeTable | None
    query_temperature: Tensor | None = None


def query_temperature(
    scaling: AttentionTemperature | None, positions: Tensor, dtype: torch.dtype
) -> Tensor | None:
    """Return the attention temperature (B or 1, T, 1, 1) of `positions` (B or 1, T)."""
    if scaling is None:
        return None
    floored = ((positions + scaling.offset) // scaling.floor_scale).float()
    return (1 + scaling.scale * floored.log1p()).to(dtype)[:, :, None, None]


def inverse_frequencies(rope: RopeSpec, device: torch.device) -> Tensor:
    """Return the scaled inverse frequencies (R/2,), in float32; `rope` is resolved for one length."""
    exponents = torch.arange(0, rope.rotary_dim, 2, dtype=torch.float32, device=device) / rope.rotary_dim
    inv_freq = 1.0 / rope.theta**exponents
    if rope.num_rotated_pairs is not None:
        inv_freq[rope.num_rotated_pairs :] = 0.0
    match rope.scaling:
        case None:
            return inv_freq
        case LinearScaling(factor=factor):
            return inv_freq / factor
        case FactorScaling(factors=factors):
            return inv_freq / torch.tensor(factors, device=device)
        case Llama3Scaling() as scaling:
            return _llama3(inv_freq, scaling)
        case YarnScaling() as scaling:
            return _yarn(inv_freq, scaling, rope)
        case unresolved:
            raise AssertionError(unresolved)


def inverse_frequency_list(rope: RopeSpec) -> list[float]:
    """Return the inverse frequencies for an engine without torch."""
    frequencies: list[float] = inverse_frequencies(rope, torch.device("cpu")).tolist()
    return frequencies


class InverseFrequencyCache:
    """An LRU cache of `inverse_frequencies`, bounded because some scalings differ for each length."""

    def __init__(self) -> None:
        # Not buffers: `.to(bfloat16)` would round them, and large positions would get wrong angles.
        self._cached: dict[tuple[RopeSpec, torch.device], Tensor] = {}

    def __len__(self) -> int:
        return len(self._cached)

    def __call__(self, rope: RopeSpec, device: torch.device) -> Tensor:
        key = (rope, device)
        inv_freq = self._cached.pop(key, None)
        if inv_freq is None:
            inv_freq = inverse_frequencies(rope, device)
            if len(self._cached) >= _MAX_CACHED:  # atomic operations of dict only: threads share the cache
                self._cached.pop(list(self._cached)[0], None)  # noqa: RUF015 - next(iter()) is not atomic
        self._cached[key] = inv_freq  # most recently used last
        return inv_freq


def _llama3(inv_freq: Tensor, scaling: Llama3Scaling) -> Tensor:
    # Frequencies with more than `high` turns within the original context are unchanged, frequencies with less
    # than `low` turns are divided by the factor, and frequencies in between are interpolated.
    turns = scaling.original_max_position * inv_freq / (2 * math.pi)
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    smooth = ((turns - low) / (high - low)).clamp(0, 1)
    return smooth * inv_freq + (1 - smooth) * inv_freq / scaling.factor


def _yarn(inv_freq: Tensor, scaling: YarnScaling, rope: RopeSpec) -> Tensor:
    # The index of the pair with `turns` turns within the original context: equation 17 of arXiv:2309.00071,
    # solved for the index.
    def pair(turns: float) -> float:
        ratio = scaling.original_max_position / (turns * 2 * math.pi)
        return rope.rotary_dim * math.log(ratio) / (2 * math.log(rope.theta))

    low, high = pair(scaling.beta_fast), pair(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, rope.rotary_dim - 1)
    pairs = torch.arange(len(inv_freq), dtype=torch.float32, device=inv_freq.device)
    ramp = ((pairs - low) / (high - low if high != low else 0.001)).clamp(0, 1)
    return inv_freq * (1 - ramp) + inv_freq / scaling.factor * ramp


def rope_table(rope: RopeSpec, inv_freq: Tensor, positions: Tensor, dtype: torch.dtype) -> RopeTable:
    """Return the RoPE table of `positions` (B or 1, T) in `dtype`; angles are computed in float32."""
    angles = positions[..., None].float() * inv_freq
    cos, sin = angles.cos(), angles.sin()
    attention_factor = getattr(rope.scaling, "attention_factor", 1.0)
    if attention_factor != 1:
        cos, sin = cos * attention_factor, sin * attention_factor
    cos, sin = cos.to(dtype), sin.to(dtype)
    # With the sign in the table, `apply_rope` needs neither negation nor concatenation.
    if rope.interleaved:
        cos, sin = torch.stack((cos, cos), -1).flatten(-2), torch.stack((-sin, sin), -1).flatten(-2)
    else:
        cos, sin = torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)
    return RopeTable(cos[:, :, None], sin[:, :, None], rope.interleaved)


def apply_rope(x: Tensor, table: RopeTable) -> Tensor:
    """Rotate the first R dimensions of each head of `x` (B, T, heads, E)."""
    size = table.cos.shape[-1]
    if size != x.shape[-1]:
        return torch.cat((apply_rope(x[..., :size], table), x[..., size:]), -1)
    swapped = x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2) if table.interleaved else x.roll(size // 2, -1)
    return torch.addcmul(x * table.cos, swapped, table.sin)
