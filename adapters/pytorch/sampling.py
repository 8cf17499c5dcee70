"""Drawing the next token: top_k, then temperature, then top_p.

A draw is one uniform number looked up in the cumulated probabilities. The number comes from a random state
that belongs to the request, so that an answer depends on neither what is generated beside it nor on the
device.
"""

import random
from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from litgpt.domain.sampling import Sampling

# Sorting a whole vocabulary costs more than the step's network on a small model; the likeliest few thousand
# nearly always hold top_p of the probability.
_LIKELIEST = 2048


@attrs.define
class Draws:
    """The random state of one request."""

    sampling: Sampling
    _uniform: random.Random = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        seed = self.sampling.seed
        if seed is None and not self.sampling.greedy:
            seed = int(torch.randint(2**63 - 1, ()).item())  # so that torch.manual_seed repeats a run
        self._uniform = random.Random(seed)  # noqa: S311 - drawing words is no cryptography

    def uniform(self) -> float:
        """Return the next number in [0, 1)."""
        return self._uniform.random()


def pick(logits: Tensor, draws: Sequence[Draws]) -> list[int]:
    """Return the next token of each row.

    Args:
        logits: (B, V).
        draws: One for each row.

    """
    chosen = logits.argmax(-1).tolist()
    return [
        greedy if one.sampling.greedy else _draw(row.float(), one.sampling, one.uniform())
        for greedy, row, one in zip(chosen, logits, draws, strict=True)
    ]


def log_probabilities(logits: Tensor, tokens: Sequence[int]) -> list[float]:
    """Return the log-probability of one token per row, under the model itself.

    Args:
        logits: (B, V).
        tokens: One for each row.

    """
    picked = torch.tensor(tokens, device=logits.device)[:, None]
    logprobs: list[float] = logits.float().log_softmax(-1).gather(1, picked)[:, 0].tolist()
    return logprobs


def _draw(logits: Tensor, sampling: Sampling, uniform: float) -> int:
    """Return a token drawn from logits (V) in float32."""
    vocabulary = logits.shape[-1]
    ids: Tensor | None = None
    kept = vocabulary
    if sampling.top_k is not None and sampling.top_k < vocabulary:
        kept = sampling.top_k
        logits, ids = logits.topk(kept)
    probabilities = (logits / sampling.temperature).softmax(-1)
    if sampling.top_p < 1:
        if ids is None:
            probabilities, ids = _likeliest(probabilities, sampling.top_p)
        before = probabilities.cumsum(-1) - probabilities
        # The likeliest is always kept: nothing comes before it.
        probabilities = probabilities[before < sampling.top_p]
    cumulated = probabilities.cumsum(-1, dtype=torch.float64 if logits.device.type != "mps" else None)
    at = int(torch.searchsorted(cumulated, cumulated[-1] * uniform, right=True).clamp(max=len(cumulated) - 1))
    return at if ids is None else int(ids[at])


def _likeliest(probabilities: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """Return probabilities from the largest down until they sum to `top_p` or more, and their ids."""
    if len(probabilities) > _LIKELIEST:
        largest, ids = probabilities.topk(_LIKELIEST)
        if largest.sum() >= top_p:
            return largest, ids
    return probabilities.sort(descending=True)
