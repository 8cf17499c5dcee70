"""The likeliest tokens of rows, and which of them `typical_p`, `top_p`, `min_p` and XTC leave, with torch.

`SamplingParams` has the order in which the parameters apply.
"""

# R rows with the same candidate limit, V vocabulary, K candidates in descending order of their probability

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from litgpt.domain.generation.sampling_params import SamplingParams

# Sorting the whole vocabulary costs more than the forward pass of a small model, and the most likely tokens
# nearly always hold top_p of the probability.
MAX_CANDIDATES = 2048
# Logits are divided by the temperature in float32; larger values overflow.
_MAX_TEMPERATURE = 1e38
# Disables a limit of the total probability: it is more than that with any rounding.
_ALL = 2.0


class CandidateLimit(NamedTuple):
    """The number of most likely tokens that are candidates, and the parameter that limits it.

    `is_filtered` is whether `min_p`, `typical_p` or XTC may exclude some of them.
    """

    reason: Literal["top_k", "top_p", "nothing"]
    max_candidates: int
    is_filtered: bool


class RowSettings(NamedTuple):
    """The parameters of rows, each (R, 1) in float64 (float32 on MPS); a neutral value disables one."""

    temperature: Tensor
    top_p: Tensor
    log_min_p: Tensor
    typical_p: Tensor
    xtc_threshold: Tensor
    uniform: Tensor


def candidate_limit(params: SamplingParams, vocab_size: int, max_candidates: int | None) -> CandidateLimit:
    """Return how many candidates a row has; `max_candidates` limits those for top_p and min_p."""
    is_filtered = params.min_p > 0 or params.typical_p < 1 or params.xtc_probability > 0
    if params.top_k is not None and params.top_k < vocab_size:
        return CandidateLimit("top_k", params.top_k, is_filtered)
    # Only these parameters leave the first tokens of the order; the others may need all of them.
    if params.typical_p < 1 or not (params.top_p < 1 or params.min_p > 0):
        return CandidateLimit("nothing", vocab_size, is_filtered)
    most = vocab_size if max_candidates is None else min(max_candidates, vocab_size)
    return CandidateLimit("top_p", most, is_filtered)


def row_settings(
    params: Sequence[SamplingParams], uniforms: Sequence[float], xtc: Sequence[bool], device: torch.device
) -> RowSettings:
    """Return the parameters of rows as tensors on the device, in one transfer."""
    settings = [
        (
            min(row.temperature, _MAX_TEMPERATURE),
            row.top_p if row.top_p < 1 else _ALL,
            math.log(row.min_p) if row.min_p > 0 else -math.inf,
            row.typical_p if row.typical_p < 1 else _ALL,
            row.xtc_threshold if excludes_top else _ALL,
            uniform,
        )
        for row, uniform, excludes_top in zip(params, uniforms, xtc, strict=True)
    ]
    return RowSettings(*torch.tensor(settings, dtype=precise_dtype(device), device=device).T[:, :, None])


def precise_dtype(device: torch.device) -> torch.dtype:
    """Return the dtype of cumulative sums."""
    return torch.float32 if device.type == "mps" else torch.float64


def largest_first(values: Tensor, count: int) -> Tensor:
    """Return the indices (R, K) of the largest values of each row (R, V) in descending order.

    Equal values are in ascending order of their indices, which `topk` does not promise: it compares numbers
    that consist of the bits of a value and of its index. The values are in float32, and not NaN.
    """
    if count == values.shape[-1]:
        return values.sort(descending=True, stable=True).indices
    bits = (values + 0.0).view(torch.int32)  # -0.0 is 0.0
    bits = torch.where(bits < 0, bits.bitwise_xor(0x7FFFFFFF), bits)  # ordered as the values are
    indices = torch.arange(values.shape[-1], device=values.device)
    return bits.long().mul_(2**32).sub_(indices).topk(count).indices


def filter_candidates(
    scaled: Tensor, settings: RowSettings, limit: CandidateLimit
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the candidates (R, K), what they are likely (R, K), and which rows (R,) have enough candidates.

    Args:
        scaled: Logits (R, V) or, with `top_k`, (R, K) in descending order, divided by the temperature, and 0
            at most.
        settings: The parameters of the rows.
        limit: Which candidates to take.

    A token that a filter excludes has a probability of 0. The probabilities do not sum to 1.
    """
    precise = settings.uniform.dtype
    if limit.reason == "top_k":
        ids = torch.arange(scaled.shape[-1], device=scaled.device).expand_as(scaled)
    else:
        ids = largest_first(scaled, limit.max_candidates)
    complete = limit.reason != "top_p" or limit.max_candidates == scaled.shape[-1]
    total = scaled.exp().sum(-1, keepdim=True, dtype=precise)
    scaled = scaled.gather(-1, ids).to(precise)
    weights = scaled.softmax(-1) if complete else scaled.exp() / total
    held = weights.sum(-1, keepdim=True)
    is_enough = (held >= settings.top_p) | (scaled[:, -1:] < settings.log_min_p) | complete
    weights = _keep_typical(scaled, weights, settings.typical_p)
    weights = _keep_top_p(weights, settings.top_p)
    best = scaled.gather(-1, _first(weights > 0))
    weights = weights.where(scaled - best >= settings.log_min_p, 0.0)
    weights = _exclude_top_choices(weights, settings.xtc_threshold)
    return ids, weights, is_enough[:, 0]


def _keep_typical(scaled: Tensor, weights: Tensor, mass: Tensor) -> Tensor:
    """Keep the tokens whose information is the closest to the entropy, up to a total probability."""
    surprisal = scaled.exp().sum(-1, keepdim=True).log() - scaled
    entropy = (weights * surprisal).where(weights > 0, 0.0).sum(-1, keepdim=True)
    distance = (surprisal - entropy).abs()
    sorted_distance, order = distance.sort(stable=True)
    last = (weights.gather(-1, order).cumsum(-1) < mass).sum(-1, keepdim=True)
    furthest = sorted_distance.gather(-1, last.clamp(max=scaled.shape[-1] - 1))
    kept = weights.where(distance <= furthest, 0.0)
    return torch.where(mass < _ALL, kept / kept.sum(-1, keepdim=True), weights)


def _keep_top_p(weights: Tensor, top_p: Tensor) -> Tensor:
    """Keep the first tokens up to a total probability; at least one stays."""
    before = weights.cumsum(-1) - weights
    return weights.masked_fill((before >= top_p) & (before > 0), 0.0)


def _exclude_top_choices(weights: Tensor, threshold: Tensor) -> Tensor:
    """Exclude all tokens of at least this fraction of the total probability but the last one."""
    above = (weights >= threshold * weights.sum(-1, keepdim=True)) & (weights > 0)
    follows = above.flip(-1).cumsum(-1).flip(-1) > 1  # a less likely token is above the threshold too
    return weights.masked_fill(above & follows, 0.0)


def _first(mask: Tensor) -> Tensor:
    """Return the index (R, 1) of the first True of each row (R, K)."""
    indices = torch.arange(mask.shape[-1], device=mask.device)
    return torch.where(mask, indices, mask.shape[-1] - 1).amin(-1, keepdim=True)
