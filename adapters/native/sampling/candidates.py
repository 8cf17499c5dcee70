"""The likeliest tokens of a row, and which of them `typical_p`, `top_p`, `min_p` and XTC leave, in numpy."""

# V vocabulary, K candidates in descending order of their probability

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from litgpt.domain.generation.sampling_params import SamplingParams

Logits: TypeAlias = NDArray[np.float32]
Ids: TypeAlias = NDArray[np.intp]
Probabilities: TypeAlias = NDArray[np.float64]

# The most likely tokens nearly always hold top_p of the probability; sorting all of them is slow.
MAX_CANDIDATES = 2048
# Logits are divided by the temperature in float32; larger values overflow.
_MAX_TEMPERATURE = 1e38
# The k-th largest of the maxima of groups is a lower bound of the k-th largest value. A group has this many.
_GROUP = 64


def largest_first(values: Logits, count: int) -> Ids:
    """Return the indices of the largest values in descending order; equal values are in ascending order."""
    if count == len(values):
        return np.argsort(-values, kind="stable")
    ids = np.flatnonzero(values >= _bound(values, count))
    if len(ids) > 2 * count:
        ids = ids[values[ids] >= np.partition(values[ids], -count)[-count]]
    return ids[np.argsort(-values[ids], kind="stable")[:count]]


def _bound(values: Logits, count: int) -> np.float32:
    """Return a number that at least `count` values reach, but not many more."""
    groups = len(values) // _GROUP
    if groups < 4 * count:
        return np.float32(np.partition(values, -count)[-count])
    maxima = values[: groups * _GROUP].reshape(_GROUP, groups).max(0)
    return np.float32(np.partition(maxima, -count)[-count])


def divide(relative: Logits, params: SamplingParams) -> Logits:
    """Return logits, whose maximum is 0, divided by the temperature."""
    with np.errstate(over="ignore"):  # a quotient of -inf is a probability of 0
        scaled: Logits = relative / np.float32(min(params.temperature, _MAX_TEMPERATURE))
    return scaled


def softmax(scaled: Logits) -> Logits:
    """Return the probabilities of logits whose maximum is 0."""
    exponentials = np.exp(scaled)
    exponentials /= exponentials.sum()
    return exponentials


def needs_filters(params: SamplingParams) -> bool:
    """Return whether `filter_candidates` applies, and not only `top_k`, the temperature and `top_p`."""
    return params.min_p > 0 or params.typical_p < 1 or params.xtc_probability > 0


def filter_candidates(
    scaled: Logits, params: SamplingParams, *, xtc: bool, is_sorted: bool
) -> tuple[Ids, Probabilities]:
    """Return the candidates (K,) and their probabilities (K,).

    Args:
        scaled: Logits (V,) divided by the temperature, whose maximum is 0.
        params: The sampling parameters; `top_k` is not applied.
        xtc: Whether XTC applies.
        is_sorted: Whether all logits are candidates in descending order.

    A token that a filter excludes has a probability of 0. The probabilities do not sum to 1.
    """
    log_min_p = math.log(params.min_p) if params.min_p > 0 else -math.inf
    if is_sorted:
        ids, ordered = np.arange(len(scaled)), scaled.astype(np.float64)
        probabilities = _softmax(ordered)
    else:
        ids, ordered, probabilities = _most_likely(scaled, params, log_min_p)
    if params.typical_p < 1:
        probabilities = _keep_typical(ordered, probabilities, params.typical_p)
    if params.top_p < 1:
        probabilities = _keep_top_p(probabilities, params.top_p)
    if params.min_p > 0:
        best = ordered[np.argmax(probabilities > 0)]
        probabilities = np.where(ordered - best >= log_min_p, probabilities, 0.0)
    if xtc:
        probabilities = _exclude_top_choices(probabilities, params.xtc_threshold)
    return ids, probabilities


def _most_likely(
    scaled: Logits, params: SamplingParams, log_min_p: float
) -> tuple[Ids, NDArray[np.float64], Probabilities]:
    """Return the ids (K,) of all tokens that top_p or min_p may leave, their logits and probabilities."""
    # Only these parameters leave the first tokens of the order; the others may need all of them.
    if params.typical_p == 1 and (params.top_p < 1 or params.min_p > 0) and len(scaled) > MAX_CANDIDATES:
        ids = largest_first(scaled, MAX_CANDIDATES)
        first = scaled[ids].astype(np.float64)
        probabilities = np.exp(first) / np.exp(scaled).sum(dtype=np.float64)
        if probabilities.sum() >= params.top_p or first[-1] < log_min_p:
            return ids, first, probabilities
    ids = largest_first(scaled, len(scaled))
    ordered = scaled[ids].astype(np.float64)
    return ids, ordered, _softmax(ordered)


def _softmax(scaled: NDArray[np.float64]) -> Probabilities:
    exponentials = np.exp(scaled)
    exponentials /= exponentials.sum()
    return exponentials


def _keep_typical(scaled: NDArray[np.float64], probabilities: Probabilities, mass: float) -> Probabilities:
    """Keep the tokens whose information is the closest to the entropy, up to a total probability."""
    surprisal = math.log(np.exp(scaled).sum()) - scaled
    with np.errstate(invalid="ignore"):  # 0 * inf is 0 here
        entropy = np.where(probabilities > 0, probabilities * surprisal, 0.0).sum()
    distance = np.abs(surprisal - entropy)
    order = np.argsort(distance, kind="stable")
    last = min(int((probabilities[order].cumsum() < mass).sum()), len(order) - 1)
    kept = np.where(distance <= distance[order[last]], probabilities, 0.0)
    kept /= kept.sum()
    return kept


def _keep_top_p(probabilities: Probabilities, top_p: float) -> Probabilities:
    """Keep the first tokens up to a total probability; at least one stays."""
    before = probabilities.cumsum() - probabilities
    return np.where((before >= top_p) & (before > 0), 0.0, probabilities)


def _exclude_top_choices(probabilities: Probabilities, threshold: float) -> Probabilities:
    """Exclude all tokens of at least this fraction of the total probability but the last one."""
    above = np.flatnonzero((probabilities >= threshold * probabilities.sum()) & (probabilities > 0))
    if len(above) > 1:
        probabilities = probabilities.copy()
        probabilities[above[:-1]] = 0.0
    return probabilities
