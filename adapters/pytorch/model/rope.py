"""Position embeddings: rotary (RoPE), learned and sinusoidal; and attention temperature."""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.ops.linear import Embedding
from litgpt.domain.model import (
    Architecture,
    AttentionTemperature,
    RopeSpec,
    SinusoidalSpec,
    rope_frequencies,
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
    tensor = partial(torch.tensor, dtype=torch.float32, device=device)
    frequencies: Tensor = rope_frequencies.inverse_frequencies(rope, tensor)
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


class SinusoidalEmbedding(nn.Module):
    """Sinusoidal position embedding (arXiv:1706.03762); it has no parameters."""

    def __init__(self, hidden_size: int, spec: SinusoidalSpec) -> None:
        super().__init__()
        self.hidden_size, self.spec = hidden_size, spec

    def forward(self, positions: Tensor) -> Tensor:
        """Return the embeddings (…, D) of positions (…), in float32."""
        tensor = partial(torch.tensor, dtype=torch.float32, device=positions.device)
        angles = positions[..., None] * rope_frequencies.sinusoidal_frequencies(
            self.spec, self.hidden_size, tensor
        )
        return torch.cat((angles.sin(), angles.cos()), -1)


def build_position_embedding(architecture: Architecture) -> nn.Module | None:
    """Return the embedding of positions that is added to that of tokens; None if the model has none."""
    if (spec := architecture.sinusoidal_positions) is not None:
        return SinusoidalEmbedding(architecture.hidden_size, spec)
    rows = architecture.num_position_embeddings
    return None if rows is None else Embedding(rows, architecture.hidden_size)
