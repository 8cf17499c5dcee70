"""The inverse frequencies of RoPE, in the arrays of any library."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from litgpt.domain.model.rope import (
    FactorScaling,
    LinearScaling,
    Llama3Scaling,
    RopeSpec,
    SinusoidalSpec,
    YarnScaling,
)


def inverse_frequencies(rope: RopeSpec, array: Callable[[Sequence[float]], Any]) -> Any:
    """Return the scaled inverse frequencies (R/2,), in float32; negative if pairs are rotated clockwise.

    Args:
        rope: The embedding, resolved for one length (`RopeSpec.for_length`).
        array: Makes a float32 array of numpy, torch or a similar library.
    """
    inv_freq = _scaled_frequencies(rope, array)
    return -inv_freq if rope.clockwise else inv_freq


def sinusoidal_frequencies(
    spec: SinusoidalSpec, hidden_size: int, array: Callable[[Sequence[float]], Any]
) -> Any:
    """Return the frequencies (D/2,) of a sinusoidal position embedding, in float32."""
    return array([10_000.0 ** -(index / spec.num_steps) for index in range(hidden_size // 2)])


def _scaled_frequencies(rope: RopeSpec, array: Callable[[Sequence[float]], Any]) -> Any:
    count = (rope.rotary_dim + 1) // 2
    inv_freq = 1.0 / rope.theta ** array([2 * pair / rope.rotary_dim for pair in range(count)])
    if rope.num_rotated_pairs is not None:
        inv_freq = inv_freq * array([float(pair < rope.num_rotated_pairs) for pair in range(count)])
    match rope.scaling:
        case None:
            return inv_freq
        case LinearScaling(factor=factor):
            return inv_freq / factor
        case FactorScaling(factors=factors):
            return inv_freq / array(factors)
        case Llama3Scaling() as scaling:
            return _llama3(inv_freq, scaling)
        case YarnScaling() as scaling:
            return _yarn(inv_freq, scaling, rope, array([float(pair) for pair in range(count)]))
        case unresolved:
            raise AssertionError(unresolved)


def _llama3(inv_freq: Any, scaling: Llama3Scaling) -> Any:
    # Frequencies with more than `high` turns within the original context are unchanged, frequencies with less
    # than `low` turns are divided by the factor, and frequencies in between are interpolated.
    turns = scaling.original_max_position * inv_freq / (2 * math.pi)
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    smooth = ((turns - low) / (high - low)).clip(0, 1)
    return smooth * inv_freq + (1 - smooth) * inv_freq / scaling.factor


def _yarn(inv_freq: Any, scaling: YarnScaling, rope: RopeSpec, pairs: Any) -> Any:
    # The index of the pair with `turns` turns within the original context: equation 17 of arXiv:2309.00071,
    # solved for the index.
    def pair(turns: float) -> float:
        ratio = scaling.original_max_position / (turns * 2 * math.pi)
        return rope.rotary_dim * math.log(ratio) / (2 * math.log(rope.theta))

    low, high = pair(scaling.beta_fast), pair(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, rope.rotary_dim - 1)
    ramp = ((pairs - low) / (high - low if high != low else 0.001)).clip(0, 1)
    return inv_freq * (1 - ramp) + inv_freq / scaling.factor * ramp
