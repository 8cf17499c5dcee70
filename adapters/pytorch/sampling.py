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

from litgpt.domain.computing_errors import NotANumber
from litgpt.domain.sampling import Sampling

# Sorting a whole vocabulary costs more than the step's network on a small model; the likeliest few thousand
# nearly always hold top_p of the probability.
_LIKELIEST = 2048
# Logits are divided in float32, which holds no higher temperature.
_HOTTEST = 1e38
# What stands in place of a token where there is none: logits are not finite, or top_p needs more candidates.
_NO_NUMBER, _MORE = -1, -2
# More than all of the probability, however it is rounded.
_ALL = 2.0


class _Cut(NamedTuple):
    """What is looked at of a vocabulary.

    Attributes:
        by: What leaves tokens out.
        most: How many of the likeliest are candidates.

    """

    by: Literal["top_k", "top_p", "nothing"]
    most: int


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
        logits: (B, V). -inf excludes a token.
        draws: One for each row.

    Raises:
        NotANumber: A row has NaN or +inf among its logits, or excludes every token.

    """
    hows = [one.sampling for one in draws]
    uniforms = [0.0 if one.sampling.greedy else one.uniform() for one in draws]
    tokens: list[int] = choose(logits, hows, uniforms).tolist()
    if _MORE in tokens:
        again = [row for row, token in enumerate(tokens) if token == _MORE]
        logits = logits[again]
        found = choose(logits, [hows[row] for row in again], [uniforms[row] for row in again], most=None)
        for row, token in zip(again, found.tolist(), strict=True):
            tokens[row] = token
    if _NO_NUMBER in tokens:
        raise NotANumber([row for row, token in enumerate(tokens) if token == _NO_NUMBER], len(tokens))
    return tokens


def choose(
    logits: Tensor, hows: Sequence[Sampling], uniforms: Sequence[float], *, most: int | None = _LIKELIEST
) -> Tensor:
    """Return the next token of each row, (B,), or a negative number where there is none yet.

    Args:
        logits: (B, V).
        hows: How to draw each row.
        uniforms: A number in [0, 1) for each row.
        most: How many candidates to look at for top_p; None looks at all.

    """
    best, tokens = logits.max(-1)
    sound = best.isfinite()  # the largest is NaN if any is, and -inf if all are
    # Rows that are cut alike go together: the order of equal logits depends on how many are asked for.
    together: dict[_Cut, list[int]] = {}
    for row, how in enumerate(hows):
        if not how.greedy:
            together.setdefault(_cut(how, logits.shape[-1], most), []).append(row)
    for cut, rows in together.items():
        at = torch.tensor(rows, device=logits.device)
        chosen, top = (logits, best) if len(rows) == len(hows) else (logits[at], best[at])
        relative = _relative(chosen, top)
        drawn = _draw(relative, [hows[row] for row in rows], [uniforms[row] for row in rows], cut)
        tokens = tokens.index_copy(0, at, drawn)
    return tokens.where(sound, _NO_NUMBER)


def log_probabilities(logits: Tensor, tokens: Sequence[int]) -> list[float]:
    """Return the log-probability of one token per row, under the model itself.

    Args:
        logits: (B, V).
        tokens: One for each row.

    """
    picked = torch.tensor(tokens, device=logits.device)[:, None]
    relative = _relative(logits, logits.amax(-1))
    logprobs: list[float] = relative.log_softmax(-1).gather(1, picked)[:, 0].tolist()
    return logprobs


def _cut(how: Sampling, vocabulary: int, most: int | None) -> _Cut:
    """Return what a draw looks at first."""
    if how.top_k is not None and how.top_k < vocabulary:
        return _Cut("top_k", how.top_k)
    if how.top_p == 1:
        return _Cut("nothing", vocabulary)
    return _Cut("top_p", vocabulary if most is None else min(most, vocabulary))


def _relative(logits: Tensor, best: Tensor) -> Tensor:
    """Return logits (R, V) less the best of their row (R,), in float32: 0 at most, and no overflow."""
    logits, best = logits.float(), best.float()[:, None]
    relative = torch.where(logits == best, 0.0, logits - best)  # inf - inf would be NaN
    return relative.masked_fill(~(best > -torch.inf), 0.0)  # a row that nothing is drawn from


def _draw(relative: Tensor, hows: Sequence[Sampling], uniforms: Sequence[float], cut: _Cut) -> Tensor:
    """Return a token of each row, (R,), or `_MORE` where the candidates have less than top_p."""
    device, vocabulary = relative.device, relative.shape[-1]
    precise = torch.float32 if device.type == "mps" else torch.float64
    settings = [
        (min(how.temperature, _HOTTEST), how.top_p if how.top_p < 1 else _ALL, uniform)
        for how, uniform in zip(hows, uniforms, strict=True)
    ]
    temperature, top_p, uniform = torch.tensor(settings, dtype=precise, device=device).T[:, :, None]
    ids: Tensor | None = None
    if cut.by == "top_k":
        relative, ids = relative.topk(cut.most)
    probabilities = (relative / temperature.float()).softmax(-1)
    enough: Tensor | None = None
    if cut.by == "top_p" and cut.most < vocabulary:
        probabilities, ids = probabilities.topk(cut.most)
        enough = probabilities.sum(-1) >= top_p[:, 0]
    elif cut.by == "top_p":
        probabilities, ids = probabilities.sort(descending=True)
    if any(how.top_p < 1 for how in hows):
        outside = probabilities.cumsum(-1, dtype=precise) - probabilities >= top_p
        outside[:, 0] = False  # the likeliest is always kept
        probabilities = probabilities.masked_fill(outside, 0.0)
    cumulated = probabilities.cumsum(-1, dtype=precise)
    total = cumulated[:, -1:].contiguous()
    drawn = torch.searchsorted(cumulated, total * uniform, right=True)
    # Rounding must not lead past the last token that has a probability.
    drawn = drawn.minimum(torch.searchsorted(cumulated, total))
    tokens = (drawn if ids is None else ids.gather(-1, drawn))[:, 0]
    return tokens if enough is None else tokens.where(enough, _MORE)
