"""Rotary position embeddings (RoPE), their context extensions, ALiBi and attention temperature."""

import math
from typing import TypeAlias

import attrs

from litgpt.domain.formatting.bounded_text import brief_repr


@attrs.frozen(kw_only=True)
class LinearScaling:
    """Position interpolation: positions are divided by `factor` (Chen et al. 2023, arXiv:2306.15595)."""

    factor: float


@attrs.frozen(kw_only=True)
class Llama3Scaling:
    """Llama 3.1 scaling: low frequencies are divided by `factor`, high ones kept, interpolated in between.

    Attributes:
        low_freq_factor: Wavelengths above `original_context / low_freq_factor` are low frequencies.
        high_freq_factor: Wavelengths below `original_context / high_freq_factor` are high frequencies.
    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position: int


@attrs.frozen(kw_only=True)
class YarnScaling:
    """YaRN: low frequencies are divided by `factor`, with a ramp to unchanged high ones (arXiv:2309.00071).

    Attributes:
        beta_fast: Dimensions with more rotations than this in the original context are kept.
        beta_slow: Dimensions with fewer rotations than this are divided by `factor`.
        truncate: Whether the bounds of the ramp are rounded to whole dimensions.
        attention_factor: Attention factor: multiplies cosines and sines.
    """

    factor: float
    original_max_position: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True
    attention_factor: float = 1.0

    __repr__ = brief_repr


@attrs.frozen(kw_only=True)
class FactorScaling:
    """Frequencies divided by one factor per dimension pair.

    `attention_factor` multiplies cosines and sines.
    """

    factors: tuple[float, ...] = attrs.field(repr=False)
    attention_factor: float = 1.0

    __repr__ = brief_repr


@attrs.frozen(kw_only=True)
class LongRopeScaling:
    """LongRoPE: short factors for sequences within the original context, long factors beyond it.

    Both have a factor per dimension pair. The attention factor multiplies cosines and sines; `None` for
    longer sequences uses `attention_factor`.

    Source: Ding et al. 2024, arXiv:2402.13753.
    """

    short_factor: tuple[float, ...] = attrs.field(repr=False)
    long_factor: tuple[float, ...] = attrs.field(repr=False)
    original_max_position: int
    attention_factor: float = 1.0
    long_attention_factor: float | None = None

    __repr__ = brief_repr


@attrs.frozen(kw_only=True)
class DynamicScaling:
    """Dynamic NTK: theta grows with the sequence length beyond the original context.

    Source: bloc97 and emozilla 2023, described in section 3.3 of arXiv:2309.00071.
    """

    factor: float
    original_max_position: int


RopeScaling: TypeAlias = (
    LinearScaling | Llama3Scaling | YarnScaling | FactorScaling | LongRopeScaling | DynamicScaling
)


@attrs.frozen(kw_only=True)
class RopeSpec:
    """Rotary position embedding (Su et al. 2021, arXiv:2104.09864).

    Attributes:
        rotary_dim: Number of rotated dimensions of a head, starting at the first.
        scaling: Context extension, if any.
        interleaved: Whether pairs are adjacent dimensions, (0, 1), (2, 3), …, instead of (0, size/2), ….
        num_rotated_pairs: Number of rotated pairs, starting at the first; None rotates all.
        clockwise: Whether pairs are rotated by negative angles (nanochat).
    """

    rotary_dim: int
    theta: float
    scaling: RopeScaling | None = None
    interleaved: bool = False
    num_rotated_pairs: int | None = None
    clockwise: bool = False

    __repr__ = brief_repr

    def for_length(self, tokens: int) -> "RopeSpec":
        """Return the embedding for a sequence of at most `tokens` tokens.

        The embedding is fixed for the whole sequence, so decoding token by token gives the same result as one
        forward pass over all of it.
        """
        match self.scaling:
            case LongRopeScaling() as it:
                longer = tokens > it.original_max_position
                magnitude = (
                    it.long_attention_factor if longer and it.long_attention_factor else it.attention_factor
                )
                factors = it.long_factor if longer else it.short_factor
                return attrs.evolve(self, scaling=FactorScaling(factors=factors, attention_factor=magnitude))
            case DynamicScaling(factor=factor, original_max_position=context):
                grown = factor * max(tokens, context) / context - (factor - 1)
                return attrs.evolve(
                    self, theta=self.theta * grown ** (self.rotary_dim / (self.rotary_dim - 2)), scaling=None
                )
            case _:
                return self


@attrs.frozen(kw_only=True)
class AttentionTemperature:
    """Position-dependent attention temperature, for sharp attention over long contexts (Llama 4).

    The query at position `p` is multiplied by `1 + scale * log(1 + floor((p + offset) / floor_scale))`.
    """

    scale: float
    floor_scale: int
    offset: int = 0


@attrs.frozen(kw_only=True)
class SinusoidalSpec:
    """Sinusoidal position embedding (Vaswani et al. 2017, arXiv:1706.03762), added to the token embedding.

    It consists of the sines, then the cosines of the position times `10000 ** -(i / num_steps)`, for each `i`
    below half the hidden size.
    """

    num_steps: int


@attrs.frozen(kw_only=True)
class AlibiSpec:
    """Attention with linear biases (ALiBi; Press et al. 2021, arXiv:2108.12409), with a slope per query head.

    The bias is the slope times the key's position; it differs from the slope times the distance by a constant
    per query, which the softmax cancels.

    Attributes:
        scale: Factor of the biases.
        in_bfloat16: Whether slopes and biases are rounded to bfloat16, as in training (Falcon).
    """

    slopes: tuple[float, ...] = attrs.field(repr=False)
    scale: float = 1.0
    in_bfloat16: bool = False


def yarn_attention_factor(factor: float, mscale: float = 1.0) -> float:
    """Return YaRN's attention factor (arXiv:2309.00071, section 3.4)."""
    return 1.0 if factor <= 1 else 0.1 * mscale * math.log(factor) + 1.0
