"""Sample the next token with numpy: the tokens of the torch engine's sampler, for equal logits and seeds.

The order is top_k, then temperature, then top_p. Sampling looks up one uniform random number in the
cumulative probabilities (inverse transform sampling). Each request has its own random state, so its answer
does not depend on the other requests of the batch.
"""

# B rows, V vocabulary

import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from litgpt.domain.generation.errors import NonFiniteLogits
from litgpt.domain.generation.sampler_state import SamplerState
from litgpt.domain.generation.sampling_params import SamplingParams

Logits: TypeAlias = NDArray[np.float32]

# The most likely tokens nearly always hold top_p of the probability; sorting all of them is slow.
_MAX_CANDIDATES = 2048
# Logits are divided by the temperature in float32; larger values overflow.
_MAX_TEMPERATURE = 1e38
# Cumulative sums of a vocabulary start with sums of blocks of this size.
_BLOCK = 256


def sample(logits: Logits, states: Sequence[SamplerState]) -> list[int]:
    """Return the next token of each row of `logits` (B, V); -inf excludes a token.

    Raises:
        NonFiniteLogits: A row has a logit of NaN or +inf, or -inf for every token.
    """
    uniforms = [0.0 if state.params.greedy else state.uniform() for state in states]
    best = logits.argmax(-1)
    largest = logits[np.arange(len(best)), best]  # NaN if any logit is, and -inf if all are
    is_finite = np.isfinite(largest)
    tokens: list[int] = np.where(is_finite, best, -1).tolist()
    for row, (state, uniform) in enumerate(zip(states, uniforms, strict=True)):
        if not state.params.greedy and is_finite[row]:
            tokens[row] = _sample_row(logits[row], largest[row], state.params, uniform)
    if not is_finite.all():
        raise NonFiniteLogits(np.flatnonzero(~is_finite).tolist(), len(states), tokens=tokens)
    return tokens


def log_probabilities(logits: Logits, tokens: Sequence[int]) -> list[float]:
    """Return the log-probability of a token per row of `logits` (B, V), without temperature, top_k, top_p."""
    relative = _relative_to_max(logits, logits.max(-1, keepdims=True))
    selected = relative[np.arange(len(tokens)), list(tokens)]
    totals = np.exp(relative).sum(-1, dtype=np.float64)
    return [float(logit) - math.log(total) for logit, total in zip(selected, totals, strict=True)]


def _sample_row(logits: Logits, largest: np.float32, params: SamplingParams, uniform: float) -> int:
    """Sample a token from finite logits (V,) whose maximum is `largest`."""
    relative = _relative_to_max(logits, largest)
    if params.top_k is not None and params.top_k < len(relative):
        ids = _largest_first(relative, params.top_k)
        return int(ids[_sample_index(_softmax(relative[ids], params), params.top_p, uniform)])
    probabilities = _softmax(relative, params)
    if params.top_p == 1:
        return _sample_all(probabilities, uniform)
    ids = _largest_first(probabilities, min(_MAX_CANDIDATES, len(probabilities)))
    if len(ids) < len(probabilities) and probabilities[ids].sum() < params.top_p:
        ids = _largest_first(probabilities, len(probabilities))
    return int(ids[_sample_index(probabilities[ids], params.top_p, uniform)])


def _relative_to_max(logits: Logits, largest: Any) -> Logits:
    with np.errstate(over="ignore"):  # a difference of -inf is a probability of 0
        relative: Logits = logits - largest
    return relative


def _largest_first(values: Logits, count: int) -> NDArray[np.intp]:
    """Return the indices of the largest values in descending order of the values."""
    ids = np.arange(len(values)) if count == len(values) else np.argpartition(values, -count)[-count:]
    return ids[np.argsort(-values[ids], kind="stable")]


def _softmax(relative: Logits, params: SamplingParams) -> Logits:
    """Return the probabilities of logits whose maximum is 0."""
    temperature = np.float32(min(params.temperature, _MAX_TEMPERATURE))
    with np.errstate(over="ignore"):  # a quotient of -inf is a probability of 0
        exponentials: Logits = np.exp(relative / temperature)
    exponentials /= exponentials.sum()
    return exponentials


def _sample_index(probabilities: Logits, top_p: float, uniform: float) -> int:
    """Sample an index of probabilities in descending order, of which only the first `top_p` are allowed."""
    cumulative = probabilities.cumsum(dtype=np.float64)
    if top_p < 1:
        # The most likely token always stays.
        allowed = max(1, int(np.searchsorted(cumulative - probabilities, top_p)))
        cumulative = cumulative[:allowed]
    return _search(cumulative, float(cumulative[-1]) * uniform, float(cumulative[-1]))


def _sample_all(probabilities: Logits, uniform: float) -> int:
    """Sample an index of probabilities in any order."""
    starts = np.arange(0, len(probabilities), _BLOCK)
    ends = np.add.reduceat(probabilities, starts, dtype=np.float64).cumsum()
    total = float(ends[-1])
    block = _search(ends, total * uniform, total)
    before = float(ends[block - 1]) if block else 0.0
    start = block * _BLOCK
    within = before + probabilities[start : start + _BLOCK].cumsum(dtype=np.float64)
    return start + _search(within, total * uniform, float(within[-1]))


def _search(cumulative: NDArray[np.float64], value: float, total: float) -> int:
    """Return the first index whose cumulative sum is larger than a value below the total.

    Rounding must not select an index after the last one with a nonzero probability.
    """
    found, last = cumulative.searchsorted(value, side="right"), cumulative.searchsorted(total)
    return int(min(found, last))
