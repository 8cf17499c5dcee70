"""ALiBi: a bias on attention scores that is linear in the distance (arXiv:2108.12409)."""

from collections.abc import Sequence

import attrs
import torch

from litgpt.adapters.pytorch.model.attention.attention_mask import AttentionMask
from litgpt.domain.model import AlibiSpec


def add_alibi_bias(
    mask: AttentionMask, alibi: AlibiSpec, *, end: int, row_offsets: Sequence[int], device: torch.device
) -> AttentionMask:
    """Return the attention mask with the ALiBi bias.

    `end` is the slot after the last token of this call, `row_offsets` has the first slot of each row.
    """
    slots = torch.arange(mask.kv_start, end, device=device)
    slopes = torch.tensor(alibi.slopes, device=device)[:, None]
    if not alibi.in_bfloat16:
        # The softmax is invariant to constants, so the distance to the end can replace the position in all
        # rows; it has a smaller magnitude.
        return attrs.evolve(mask, bias=(slopes * (slots - (end - 1)) * alibi.scale)[None])
    # Rounding depends on the position, which is counted from the start of each row.
    positions = (slots - torch.tensor(row_offsets, device=device)[:, None]).clamp(min=0)
    rounded = slopes.bfloat16() * positions[:, None].bfloat16()
    return attrs.evolve(mask, bias=rounded.float() * alibi.scale)
