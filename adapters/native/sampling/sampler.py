"""Sample the next token with numpy: the tokens of the torch engine's sampler, for equal logits and seeds.

`SamplingParams` has the order in which the parameters apply. Sampling looks up one uniform random number in
the cumulative probabilities (inverse transform sampling). Each request has its own random state, so its
answer does not depend on the other requests of the batch.
"""

# B rows, V vocabulary

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litgpt.adapters.native.sampling.candidates import (
    MAX_CANDIDATES,
    Logits,
    divide,
    filter_candidates,
    largest_first,
    needs_filters,
    softmax,
)
from litgpt.adapters.native.sampling.logit_edits import edited
from litgpt.domain.generation.errors import AllTokensExcluded, NonFiniteLogits
from litgpt.domain.generation.sampler_state import SamplerState
from litgpt.domain.generation.sampling_params import SamplingParams

# Cumulative sums of a vocabulary start with sums of blocks of this size.
_BLOCK = 256


def sample(logits: Logits, states: Sequence[SamplerState]) -> list[int]:
    """Return the next token of each row of `logits` (B, V); -inf excludes a token.

    Raises:
        NonFiniteLogits: A row has a logit of NaN or +inf, or -inf for every token.
        AllTokensExcluded: The parameters of a request exclude every token.
    """
    uniforms = [0.0 if state.params.greedy else state.uniform() for state in states]
    excludes_top = [state.excludes_top_choices() for state in states]
    logits = np.ascontiguousarray(logits)
    with edited(logits, states) as allowed:
        best, largest = _maxima(logits)
        tokens: list[int] = best.tolist()
        for row, ids in allowed.items():
            values = logits[row, ids]
            at = values.argmax()
            tokens[row], largest[row] = int(ids[at]), values[at]
        is_finite = bool(np.isfinite(largest).all())
        for row, (state, uniform) in enumerate(zip(states, uniforms, strict=True)):
            if is_finite and not state.params.greedy:
                values = logits[row, allowed[row]] if row in allowed else logits[row]
                index = _sample_row(
                    values,
                    largest[row],
                    state.params,
                    uniform,
                    vocab_size=logits.shape[-1],
                    xtc=excludes_top[row],
                )
                tokens[row] = int(allowed[row][index]) if row in allowed else index
    if not is_finite:
        bad = np.flatnonzero(~np.isfinite(_maxima(logits)[1]))
        raise NonFiniteLogits(bad.tolist(), len(states)) if bad.size else AllTokensExcluded
    return tokens


def log_probabilities(logits: Logits, tokens: Sequence[int]) -> list[float]:
    """Return the log-probability of a token per row of `logits` (B, V), before all sampling parameters."""
    return [_log_probability(row, token) for row, token in zip(logits, tokens, strict=True)]


def _log_probability(logits: Logits, token: int) -> float:
    # One row at a time, in place: the values stay in the processor's cache.
    relative = _relative_to_max(logits, logits.max())
    logit = float(relative[token])
    return logit - math.log(np.exp(relative, out=relative).sum())


def top_log_probabilities(logits: Logits, counts: Sequence[int]) -> list[dict[int, float] | None]:
    """Return the likeliest tokens per row of `logits` (B, V) with their log-probabilities, None for 0."""
    return [
        _top_of_row(row, min(count, len(row))) if count else None
        for row, count in zip(logits, counts, strict=True)
    ]


def _top_of_row(logits: Logits, count: int) -> dict[int, float]:
    relative = _relative_to_max(logits, logits.max())
    ids = largest_first(relative, count)
    total = math.log(np.exp(relative).sum(dtype=np.float64))
    return {int(token): float(relative[token]) - total for token in ids}


def _maxima(logits: Logits) -> tuple[NDArray[np.intp], Logits]:
    """Return the first likeliest token of each row, and its logit: NaN if any is, and -inf if all are."""
    best = logits.argmax(-1)
    return best, logits[np.arange(len(best)), best]


def _sample_row(
    logits: Logits,
    largest: np.float32,
    params: SamplingParams,
    uniform: float,
    *,
    vocab_size: int,
    xtc: bool,
) -> int:
    """Sample an index of some or all of the finite logits (V,), whose maximum is `largest`."""
    top = None
    if params.top_k is not None and params.top_k < vocab_size:
        top = largest_first(logits, min(params.top_k, len(logits)))
        logits = logits[top]
    scaled = divide(_relative_to_max(logits, largest), params)
    if needs_filters(params):
        ids, weights = filter_candidates(scaled, params, xtc=xtc, is_sorted=top is not None)
        cumulative = weights.cumsum()
        index = int(ids[_search(cumulative, float(cumulative[-1]) * uniform, float(cumulative[-1]))])
        return index if top is None else int(top[index])
    probabilities = softmax(scaled)
    if top is not None:
        return int(top[_sample_index(probabilities, params.top_p, uniform)])
    if params.top_p == 1:
        return _sample_all(probabilities, uniform)
    ids = largest_first(probabilities, min(MAX_CANDIDATES, len(probabilities)))
    if len(ids) < len(probabilities) and probabilities[ids].sum() < params.top_p:
        ids = largest_first(probabilities, len(probabilities))
    return int(ids[_sample_index(probabilities[ids], params.top_p, uniform)])


def _relative_to_max(logits: Logits, largest: Any) -> Logits:
    with np.errstate(over="ignore"):  # a difference of -inf is a probability of 0
        relative: Logits = logits - largest
    return relative


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
