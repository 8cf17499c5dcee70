"""Drawing the next token: top_k, then temperature, then top_p.

A draw is one uniform number looked up in the cumulated probabilities. The number comes from a random state
that belongs to the request, so that an answer depends on neither what is generated beside it nor on the
device. All rows of a batch are drawn on the device, and the host waits for it once.
"""

# B rows, R rows that are drawn together, V vocabulary

import random
from collections.abc import Sequence
from typing import Literal, NamedTuple

import attrs
import torch
from torch import Tensor

from litgpt.domain.generation.errors import NonFiniteLogits
from litgpt.domain.generation.sampling_params import SamplingParams

# Sorting a whole vocabulary costs more than the step's network on a small model; the likeliest few thousand
# nearly always hold top_p of the probability.
_MAX_CANDIDATES = 2048
# Logits are divided in float32, which holds no higher temperature.
_MAX_TEMPERATURE = 1e38
# What stands in place of a token where there is none: logits are not finite, or top_p needs more candidates.
_NON_FINITE, _MORE_CANDIDATES = -1, -2
# More than all of the probability, however it is rounded.
_ALL = 2.0


class _CandidateLimit(NamedTuple):
    """What is looked at of a vocabulary.

    Attributes:
        reason: What leaves tokens out.
        max_candidates: How many of the likeliest are candidates.

    """

    reason: Literal["top_k", "top_p", "nothing"]
    max_candidates: int


@attrs.define
class SamplerState:
    """The random state of one request."""

    params: SamplingParams
    _uniform: random.Random = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        seed = self.params.seed
        if seed is None and not self.params.greedy:
            seed = int(torch.randint(2**63 - 1, ()).item())  # so that torch.manual_seed repeats a run
        self._uniform = random.Random(seed)  # noqa: S311 - drawing words is no cryptography

    def uniform(self) -> float:
        """Return the next number in [0, 1)."""
        return self._uniform.random()


def sample(logits: Tensor, states: Sequence[SamplerState]) -> list[int]:
    """Return the next token of each row.

    Args:
        logits: (B, V). -inf excludes a token.
        states: One for each row.

    Raises:
        NotANumber: A row has NaN or +inf among its logits, or excludes every token.

    """
    hows = [one.params for one in states]
    uniforms = [0.0 if one.params.greedy else one.uniform() for one in states]
    tokens: list[int] = sample_candidates(logits, hows, uniforms).tolist()
    if _MORE_CANDIDATES in tokens:
        again = [row for row, token in enumerate(tokens) if token == _MORE_CANDIDATES]
        logits = logits[again]
        found = sample_candidates(
            logits, [hows[row] for row in again], [uniforms[row] for row in again], max_candidates=None
        )
        for row, token in zip(again, found.tolist(), strict=True):
            tokens[row] = token
    if _NON_FINITE in tokens:
        raise NonFiniteLogits([row for row, token in enumerate(tokens) if token == _NON_FINITE], len(tokens))
    return tokens


def sample_candidates(
    logits: Tensor,
    params: Sequence[SamplingParams],
    uniforms: Sequence[float],
    *,
    max_candidates: int | None = _MAX_CANDIDATES,
) -> Tensor:
    """Return the next token of each row, (B,), or a negative number where there is none yet.

    Args:
        logits: (B, V).
        params: How to draw each row.
        uniforms: A number in [0, 1) for each row.
        max_candidates: How many candidates to look at for top_p; None looks at all.

    """
    best, tokens = logits.max(-1)
    sound = best.isfinite()  # the largest is NaN if any is, and -inf if all are
    # Rows that are cut alike go together: the order of equal logits depends on how many are asked for.
    together: dict[_CandidateLimit, list[int]] = {}
    for row, how in enumerate(params):
        if not how.greedy:
            together.setdefault(_candidate_limit(how, logits.shape[-1], max_candidates), []).append(row)
    for cut, rows in together.items():
        at = torch.tensor(rows, device=logits.device)
        chosen, top = (logits, best) if len(rows) == len(params) else (logits[at], best[at])
        relative = _relative_to_max(chosen, top)
        drawn = _sample_rows(relative, [params[row] for row in rows], [uniforms[row] for row in rows], cut)
        tokens = tokens.index_copy(0, at, drawn)
    return tokens.where(sound, _NON_FINITE)


def log_probabilities(logits: Tensor, tokens: Sequence[int]) -> list[float]:
    """Return the log-probability of one token per row, under the model itself.

    Args:
        logits: (B, V).
        tokens: One for each row.

    """
    picked = torch.tensor(tokens, device=logits.device)[:, None]
    relative = _relative_to_max(logits, logits.amax(-1))
    logprobs: list[float] = relative.log_softmax(-1).gather(1, picked)[:, 0].tolist()
    return logprobs


def _candidate_limit(params: SamplingParams, vocab_size: int, max_candidates: int | None) -> _CandidateLimit:
    """Return what a draw looks at first."""
    if params.top_k is not None and params.top_k < vocab_size:
        return _CandidateLimit("top_k", params.top_k)
    if params.top_p == 1:
        return _CandidateLimit("nothing", vocab_size)
    return _CandidateLimit("top_p", vocab_size if max_candidates is None else min(max_candidates, vocab_size))


def _relative_to_max(logits: Tensor, best: Tensor) -> Tensor:
    """Return logits (R, V) less the best of their row (R,), in float32: 0 at most, and no overflow."""
    logits, best = logits.float(), best.float()[:, None]
    relative = torch.where(logits == best, 0.0, logits - best)  # inf - inf would be NaN
    return relative.masked_fill(~(best > -torch.inf), 0.0)  # a row that nothing is drawn from


def _sample_rows(
    relative: Tensor, params: Sequence[SamplingParams], uniforms: Sequence[float], cut: _CandidateLimit
) -> Tensor:
    """Return a token of each row, (R,), or `_MORE` where the candidates have less than top_p."""
    device, vocabulary = relative.device, relative.shape[-1]
    precise = torch.float32 if device.type == "mps" else torch.float64
    settings = [
        (min(how.temperature, _MAX_TEMPERATURE), how.top_p if how.top_p < 1 else _ALL, uniform)
        for how, uniform in zip(params, uniforms, strict=True)
    ]
    temperature, top_p, uniform = torch.tensor(settings, dtype=precise, device=device).T[:, :, None]
    ids: Tensor | None = None
    if cut.reason == "top_k":
        relative, ids = relative.topk(cut.max_candidates)
    probabilities = (relative / temperature.float()).softmax(-1)
    enough: Tensor | None = None
    if cut.reason == "top_p" and cut.max_candidates < vocabulary:
        probabilities, ids = probabilities.topk(cut.max_candidates)
        enough = probabilities.sum(-1) >= top_p[:, 0]
    elif cut.reason == "top_p":
        probabilities, ids = probabilities.sort(descending=True)
    if any(how.top_p < 1 for how in params):
        outside = probabilities.cumsum(-1, dtype=precise) - probabilities >= top_p
        outside[:, 0] = False  # the likeliest is always kept
        probabilities = probabilities.masked_fill(outside, 0.0)
    cumulated = probabilities.cumsum(-1, dtype=precise)
    total = cumulated[:, -1:].contiguous()
    drawn = torch.searchsorted(cumulated, total * uniform, right=True)
    # Rounding must not lead past the last token that has a probability.
    drawn = drawn.minimum(torch.searchsorted(cumulated, total))
    tokens = (drawn if ids is None else ids.gather(-1, drawn))[:, 0]
    return tokens if enough is None else tokens.where(enough, _MORE_CANDIDATES)
