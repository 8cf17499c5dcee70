"""Sample the next token: top_k, then temperature, then top_p.

Sampling looks up one uniform random number in the cumulative probabilities (inverse transform sampling). Each
request has its own random state, so its answer depends neither on the other requests of the batch nor on the
device. All rows of a batch are sampled on the device, with one synchronization with the host.
"""

# B rows, R rows with the same candidate limit, V vocabulary

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from litgpt.domain.generation.errors import NonFiniteLogits
from litgpt.domain.generation.sampler_state import SamplerState
from litgpt.domain.generation.sampling_params import SamplingParams

# Sorting the whole vocabulary costs more than the forward pass of a small model, and the most likely tokens
# nearly always hold top_p of the probability.
_MAX_CANDIDATES = 2048
# Logits are divided by the temperature in float32; larger values overflow.
_MAX_TEMPERATURE = 1e38
# Placeholders for a token: the logits are not finite, or top_p needs more candidates.
_NON_FINITE, _MORE_CANDIDATES = -1, -2
# Disables top_p: more than the total probability with any rounding.
_ALL = 2.0


class _CandidateLimit(NamedTuple):
    """The number of most likely tokens that are candidates, and the parameter that limits it."""

    reason: Literal["top_k", "top_p", "nothing"]
    max_candidates: int


def sample(logits: Tensor, states: Sequence[SamplerState]) -> list[int]:
    """Return the next token of each row of `logits` (B, V); -inf excludes a token.

    Raises:
        NonFiniteLogits: A row has a logit of NaN or +inf, or -inf for every token.
    """
    params = [state.params for state in states]
    uniforms = [0.0 if state.params.greedy else state.uniform() for state in states]
    tokens: list[int] = sample_candidates(logits, params, uniforms).tolist()
    if _MORE_CANDIDATES in tokens:
        retried = [row for row, token in enumerate(tokens) if token == _MORE_CANDIDATES]
        logits = logits[retried]
        sampled = sample_candidates(
            logits, [params[row] for row in retried], [uniforms[row] for row in retried], max_candidates=None
        )
        for row, token in zip(retried, sampled.tolist(), strict=True):
            tokens[row] = token
    if _NON_FINITE in tokens:
        rows = [row for row, token in enumerate(tokens) if token == _NON_FINITE]
        raise NonFiniteLogits(rows, len(tokens), tokens=tokens)
    return tokens


def sample_candidates(
    logits: Tensor,
    params: Sequence[SamplingParams],
    uniforms: Sequence[float],
    *,
    max_candidates: int | None = _MAX_CANDIDATES,
) -> Tensor:
    """Return the next token of each row of `logits` (B, V), or a negative placeholder (see above).

    `uniforms` has a random number in [0, 1) for each row; `max_candidates` limits the candidates for top_p,
    None takes the whole vocabulary.
    """
    best, tokens = logits.max(-1)
    is_finite = best.isfinite()  # the maximum is NaN if any logit is, and -inf if all are
    # Grouped by limit, because topk orders equal logits differently for different k.
    groups: dict[_CandidateLimit, list[int]] = {}
    for row, row_params in enumerate(params):
        if not row_params.greedy:
            limit = _candidate_limit(row_params, logits.shape[-1], max_candidates)
            groups.setdefault(limit, []).append(row)
    for limit, rows in groups.items():
        index = torch.tensor(rows, device=logits.device)
        selected, top = (logits, best) if len(rows) == len(params) else (logits[index], best[index])
        relative = _relative_to_max(selected, top)
        sampled = _sample_rows(
            relative, [params[row] for row in rows], [uniforms[row] for row in rows], limit
        )
        tokens = tokens.index_copy(0, index, sampled)
    return tokens.where(is_finite, _NON_FINITE)


def log_probabilities(logits: Tensor, tokens: Sequence[int]) -> list[float]:
    """Return the log-probability of a token per row of `logits` (B, V), without temperature, top_k, top_p."""
    index = torch.tensor(tokens, device=logits.device)[:, None]
    relative = _relative_to_max(logits, logits.amax(-1))
    logprobs: list[float] = relative.log_softmax(-1).gather(1, index)[:, 0].tolist()
    return logprobs


def _candidate_limit(params: SamplingParams, vocab_size: int, max_candidates: int | None) -> _CandidateLimit:
    if params.top_k is not None and params.top_k < vocab_size:
        return _CandidateLimit("top_k", params.top_k)
    if params.top_p == 1:
        return _CandidateLimit("nothing", vocab_size)
    return _CandidateLimit("top_p", vocab_size if max_candidates is None else min(max_candidates, vocab_size))


def _relative_to_max(logits: Tensor, best: Tensor) -> Tensor:
    """Return logits (R, V) minus the maximum of their row (R,), in float32."""
    logits, best = logits.float(), best.float()[:, None]
    relative = torch.where(logits == best, 0.0, logits - best)  # inf - inf would be NaN
    return relative.masked_fill(~(best > -torch.inf), 0.0)  # such a row has no valid token


def _sample_rows(
    relative: Tensor, params: Sequence[SamplingParams], uniforms: Sequence[float], limit: _CandidateLimit
) -> Tensor:
    """Return a token for each row, (R,), or `_MORE_CANDIDATES` if the candidates have less than top_p."""
    device, vocabulary = relative.device, relative.shape[-1]
    precise = torch.float32 if device.type == "mps" else torch.float64
    settings = [
        (min(row.temperature, _MAX_TEMPERATURE), row.top_p if row.top_p < 1 else _ALL, uniform)
        for row, uniform in zip(params, uniforms, strict=True)
    ]
    temperature, top_p, uniform = torch.tensor(settings, dtype=precise, device=device).T[:, :, None]
    ids: Tensor | None = None
    if limit.reason == "top_k":
        relative, ids = relative.topk(limit.max_candidates)
    probabilities = (relative / temperature.float()).softmax(-1)
    is_enough: Tensor | None = None
    if limit.reason == "top_p" and limit.max_candidates < vocabulary:
        probabilities, ids = probabilities.topk(limit.max_candidates)
        is_enough = probabilities.sum(-1) >= top_p[:, 0]
    elif limit.reason == "top_p":
        probabilities, ids = probabilities.sort(descending=True)
    if any(row.top_p < 1 for row in params):
        outside = probabilities.cumsum(-1, dtype=precise) - probabilities >= top_p
        outside[:, 0] = False  # the most likely token always stays
        probabilities = probabilities.masked_fill(outside, 0.0)
    cumulative = probabilities.cumsum(-1, dtype=precise)
    total = cumulative[:, -1:].contiguous()
    sampled = torch.searchsorted(cumulative, total * uniform, right=True)
    # Rounding must not select a token after the last one with a nonzero probability.
    sampled = sampled.minimum(torch.searchsorted(cumulative, total))
    tokens = (sampled if ids is None else ids.gather(-1, sampled))[:, 0]
    return tokens if is_enough is None else tokens.where(is_enough, _MORE_CANDIDATES)
