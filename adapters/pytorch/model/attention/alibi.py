"""Scores that fall with distance (Press et al. 2021, arXiv:2108.12409)."""

from collections.abc import Sequence

import attrs
import torch

from litgpt.adapters.pytorch.model.attention.attention_mask import AttentionMask
from litgpt.domain.model import AlibiSpec


def add_alibi_bias(
    mask: AttentionMask, alibi: AlibiSpec, *, end: int, row_offsets: Sequence[int], device: torch.device
) -> AttentionMask:
    """Return a view in which scores fall with distance.

    Args:
        mask: Who sees whom.
        alibi: How they fall.
        end: The slot after the last that is seen.
        row_offsets: The first slot of each row.
        device: Where it is to be computed.

    """
    slots = torch.arange(mask.kv_start, end, device=device)
    slopes = torch.tensor(alibi.slopes, device=device)[:, None]
    if not alibi.in_bfloat16:
        # A softmax sees differences alone, so all rows may count back from the end, where numbers are small.
        return attrs.evolve(mask, bias=(slopes * (slots - (end - 1)) * alibi.scale)[None])
    # What is rounded depends on where it is counted from, which is each row's start.
    positions = (slots - torch.tensor(row_offsets, device=device)[:, None]).clamp(min=0)
    rounded = slopes.bfloat16() * positions[:, None].bfloat16()
    return attrs.evolve(mask, bias=rounded.float() * alibi.scale)
