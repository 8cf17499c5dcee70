"""Sample the next token; `SamplingParams` has the order in which the parameters apply.

Sampling looks up one uniform random number in the cumulative probabilities (inverse transform sampling). Each
request has its own random state, so its answer depends neither on the other requests of the batch nor on the
device. All rows of a batch are sampled on the device, with one synchronization with the host.
"""

# B rows, R rows with the same candidate limit, V vocabulary

from collections.abc import Sequence

import torch
from torch import Tensor

from litgpt.adapters.pytorch.generation.candidates import (
    MAX_CANDIDATES,
    CandidateLimit,
    RowSettings,
    candidate_limit,
    filter_candidates,
    largest_first,
    precise_dtype,
    row_settings,
)
from litgpt.adapters.pytorch.generation.logit_edits import edit
from litgpt.domain.generation.errors import AllTokensExcluded, NonFiniteLogits
from litgpt.domain.generation.sampler_state import SamplerState
from litgpt.domain.generation.sampling_params import SamplingParams

# Placeholders for a token: the logits are not finite, top_p needs more candidates, or none is left.
_NON_FINITE, _MORE_CANDIDATES, _EXCLUDED = -1, -2, -3


def sample(logits: Tensor, states: Sequence[SamplerState]) -> list[int]:
    """Return the next token of each row of `logits` (B, V); -inf excludes a token.

    Raises:
        NonFiniteLogits: A row has a logit of NaN or +inf, or -inf for every token.
        AllTokensExcluded: The parameters of a request exclude every token.
    """
    params = [state.params for state in states]
    uniforms = [0.0 if state.params.greedy else state.uniform() for state in states]
    xtc = [state.excludes_top_choices() for state in states]
    edited = edit(logits, states)
    sampled = sample_candidates(logits if edited is None else edited, params, uniforms, xtc)
    if edited is not None:  # the error names what is at fault
        sampled = sampled.where(sampled != _NON_FINITE, _EXCLUDED).where(
            logits.amax(-1).isfinite(), _NON_FINITE
        )
        logits = edited
    tokens: list[int] = sampled.tolist()
    if _MORE_CANDIDATES in tokens:
        retried = [row for row, token in enumerate(tokens) if token == _MORE_CANDIDATES]
        again = sample_candidates(
            logits[retried],
            [params[row] for row in retried],
            [uniforms[row] for row in retried],
            [xtc[row] for row in retried],
            max_candidates=None,
        )
        for row, token in zip(retried, again.tolist(), strict=True):
            tokens[row] = token
    if _NON_FINITE in tokens:
        raise NonFiniteLogits([row for row, token in enumerate(tokens) if token == _NON_FINITE], len(tokens))
    if _EXCLUDED in tokens:
        raise AllTokensExcluded
    return tokens


def sample_candidates(
    logits: Tensor,
    params: Sequence[SamplingParams],
    uniforms: Sequence[float],
    xtc: Sequence[bool],
    *,
    max_candidates: int | None = MAX_CANDIDATES,
) -> Tensor:
    """Return the next token of each row of `logits` (B, V), or a negative placeholder (see above).

    `uniforms` has a random number in [0, 1) for each row, and `xtc` whether XTC applies to it;
    `max_candidates` limits the candidates for top_p and min_p, None takes the whole vocabulary.
    """
    best = logits.amax(-1)
    is_finite = best.isfinite()  # the maximum is NaN if any logit is, and -inf if all are
    tokens = _first_equal(logits, best)
    groups: dict[CandidateLimit, list[int]] = {}
    for row, row_params in enumerate(params):
        if not row_params.greedy:
            limit = candidate_limit(row_params, logits.shape[-1], max_candidates)
            groups.setdefault(limit, []).append(row)
    for limit, rows in groups.items():
        index = torch.tensor(rows, device=logits.device)
        selected, top = (logits, best) if len(rows) == len(params) else (logits[index], best[index])
        settings = row_settings(
            [params[row] for row in rows],
            [uniforms[row] for row in rows],
            [xtc[row] for row in rows],
            logits.device,
        )
        sampled = _sample_rows(selected, top, settings, limit)
        tokens = tokens.index_copy(0, index, sampled)
    return tokens.where(is_finite, _NON_FINITE)


def log_probabilities(logits: Tensor, tokens: Sequence[int]) -> list[float]:
    """Return the log-probability of a token per row of `logits` (B, V), before all sampling parameters."""
    index = torch.tensor(tokens, device=logits.device)[:, None]
    relative = _relative_to_max(logits, logits.amax(-1))
    logprobs: list[float] = relative.log_softmax(-1).gather(1, index)[:, 0].tolist()
    return logprobs


def top_log_probabilities(logits: Tensor, counts: Sequence[int]) -> list[dict[int, float] | None]:
    """Return the likeliest tokens per row of `logits` (B, V) with their log-probabilities, None for 0."""
    most = min(max(counts), logits.shape[-1])
    if most == 0:
        return [None] * len(counts)
    relative = _relative_to_max(logits, logits.amax(-1))
    ids = largest_first(relative, most)
    logprobs = relative.log_softmax(-1).gather(-1, ids).tolist()
    return [
        dict(zip(row_ids[:count], row, strict=False)) if count else None
        for count, row_ids, row in zip(counts, ids.tolist(), logprobs, strict=True)
    ]


def _first_equal(logits: Tensor, best: Tensor) -> Tensor:
    """Return the first index of the maximum (R,) of each row (R, V), which `argmax` does not promise."""
    size = logits.shape[-1]
    indices = torch.arange(size, dtype=torch.int32, device=logits.device)
    first = torch.where(logits == best[:, None], indices, size).amin(-1)
    return first.clamp(max=size - 1).long()  # a row of NaN has no maximum


def _relative_to_max(logits: Tensor, best: Tensor) -> Tensor:
    """Return logits (R, V) minus the maximum of their row (R,), in float32."""
    logits, best = logits.float(), best.float()[:, None]
    relative = torch.where(logits == best, 0.0, logits - best)  # inf - inf would be NaN
    return relative.masked_fill(~(best > -torch.inf), 0.0)  # such a row has no valid token


def _sample_rows(logits: Tensor, best: Tensor, settings: RowSettings, limit: CandidateLimit) -> Tensor:
    """Return a token for each row of `logits` (R, V), (R,), or `_MORE_CANDIDATES`.

    `best` has the maximum of each row, (R,).
    """
    vocabulary, precise = logits.shape[-1], precise_dtype(logits.device)
    ids: Tensor | None = None
    if limit.reason == "top_k":
        ids = largest_first(logits.float(), limit.max_candidates)
        logits = logits.gather(-1, ids)
    scaled = _relative_to_max(logits, best) / settings.temperature.float()
    is_enough: Tensor | None = None
    if limit.is_filtered:
        order, probabilities, is_enough = filter_candidates(scaled, settings, limit)
        ids = order if ids is None else ids
    else:
        probabilities = scaled.softmax(-1)
        if limit.reason == "top_p":
            ids = largest_first(probabilities, limit.max_candidates)
            probabilities = probabilities.gather(-1, ids)
            if limit.max_candidates < vocabulary:
                is_enough = probabilities.sum(-1) >= settings.top_p[:, 0]
        if limit.reason != "nothing":
            outside = probabilities.cumsum(-1, dtype=precise) - probabilities >= settings.top_p
            outside[:, 0] = False  # the most likely token always stays
            probabilities = probabilities.masked_fill(outside, 0.0)
    cumulative = probabilities.cumsum(-1, dtype=precise)
    total = cumulative[:, -1:].contiguous()
    sampled = torch.searchsorted(cumulative, total * settings.uniform, right=True)
    # Rounding must not select a token after the last one with a nonzero probability.
    sampled = sampled.minimum(torch.searchsorted(cumulative, total))
    tokens = (sampled if ids is None else ids.gather(-1, sampled))[:, 0]
    return tokens if is_enough is None else tokens.where(is_enough, _MORE_CANDIDATES)
