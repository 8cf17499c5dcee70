"""Reference implementations of DRY and XTC, from their definitions, and helpers for both samplers."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from litgpt.adapters.native.sampling import candidates, logit_edits, sampler
from litgpt.adapters.pytorch.generation import candidates as torch_candidates
from litgpt.adapters.pytorch.generation import logit_edits as torch_edits
from litgpt.adapters.pytorch.generation import sampler as torch_sampler
from litgpt.domain.generation.sampler_state import SamplerState
from litgpt.domain.generation.sampling_params import SamplingParams

Row = NDArray[np.float32]
ENGINES = ("native", "torch")


def no_seed() -> int:
    raise AssertionError("this request has a seed, or is greedy")


def make_state(
    params: SamplingParams, prompt: Sequence[int] = (), answer: Sequence[int] = (), stops: Sequence[int] = ()
) -> SamplerState:
    """Return the state after an answer so far."""
    state = SamplerState(params, no_seed, prompt, frozenset(stops))
    for token in answer:
        state.append(token)
    return state


def edited_logits(engine: str, logits: Row, states: Sequence[SamplerState]) -> Row:
    """Return logits (B, V) with the changes of one of the engines."""
    if engine == "torch":
        changed = torch_edits.edit(torch.from_numpy(logits.copy()), states)
        assert changed is not None
        result: Row = changed.numpy()
        return result
    inside = logits.copy()
    with logit_edits.edited(inside, states) as allowed:
        result = inside.copy()
        for row, ids in allowed.items():
            excluded = np.setdiff1d(np.arange(result.shape[-1]), ids)
            result[row, excluded] = -np.inf
    np.testing.assert_array_equal(inside, logits)  # they are restored
    return result


def filtered_probabilities(
    engine: str,
    logits: Row,
    params: SamplingParams,
    *,
    xtc: bool = False,
    max_candidates: int | None = torch_candidates.MAX_CANDIDATES,
) -> NDArray[np.float64]:
    """Return the probabilities (V,) that one of the engines samples from, for logits (V,)."""
    relative = logits - logits.max()
    if engine == "native":
        is_sorted = params.top_k is not None
        order = candidates.largest_first(relative, params.top_k) if params.top_k else np.arange(len(logits))
        scaled = candidates.divide(relative[order], params)
        ids, weights = candidates.filter_candidates(scaled, params, xtc=xtc, is_sorted=is_sorted)
        ids = order[ids]
    else:
        limit = torch_candidates.candidate_limit(params, len(logits), max_candidates)
        settings = torch_candidates.row_settings([params], [0.5], [xtc], torch.device("cpu"))
        row = torch.from_numpy(relative)[None]
        top = torch_candidates.largest_first(row, limit.max_candidates)
        some = row.gather(-1, top) if limit.reason == "top_k" else row
        found, kept, is_enough = torch_candidates.filter_candidates(
            some / settings.temperature.float(), settings, limit
        )
        ids = (top.gather(-1, found) if limit.reason == "top_k" else found)[0].numpy()
        if not is_enough.all():
            return filtered_probabilities(engine, logits, params, xtc=xtc, max_candidates=None)
        weights = kept[0].numpy()
    probabilities = np.zeros(len(logits))
    probabilities[ids] = weights / weights.sum()
    return probabilities


def sample(engine: str, logits: Row, states: Sequence[SamplerState]) -> list[int]:
    if engine == "torch":
        return torch_sampler.sample(torch.from_numpy(logits), states)
    return sampler.sample(logits, states)


def dry_penalties(tokens: Sequence[int], params: SamplingParams) -> dict[int, float]:
    """Return the penalty of each token that would extend a repetition: all suffixes are tried."""
    breakers, penalties = set(params.dry_breakers), dict[int, float]()
    for position in range(1, len(tokens)):
        following = tokens[position]
        if following in breakers:
            continue
        length = 0
        while (
            length < position
            and tokens[position - 1 - length] == tokens[-1 - length]
            and tokens[-1 - length] not in breakers
        ):
            length += 1
        if length >= params.dry_allowed_length:
            penalty = params.dry_multiplier * params.dry_base ** (length - params.dry_allowed_length)
            penalties[following] = max(penalty, penalties.get(following, 0.0))
    return penalties


def xtc_probabilities(probabilities: NDArray[np.float64], threshold: float) -> NDArray[np.float64]:
    """Return probabilities (V,) without the top choices: all above the threshold but the least likely."""
    above = [token for token, probability in enumerate(probabilities) if probability >= threshold]
    above.sort(key=lambda token: (-probabilities[token], token))
    kept = probabilities.copy()
    for token in above[:-1]:
        kept[token] = 0.0
    result: NDArray[np.float64] = kept / math.fsum(kept)
    return result


def params_with(**settings: Any) -> SamplingParams:
    return SamplingParams(**({"seed": 0} | settings))
