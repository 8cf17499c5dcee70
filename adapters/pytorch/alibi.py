"""Scores that fall with distance (Press et al. 2021, arXiv:2108.12409)."""

from collections.abc import Sequence

import attrs
import torch

from litgpt.adapters.pytorch.visibility import View
from litgpt.domain.architecture import Alibi


def falling(seen: View, alibi: Alibi, *, end: int, starts: Sequence[int], device: torch.device) -> View:
    """Return a view in which scores fall with distance.

    Args:
        seen: Who sees whom.
        alibi: How they fall.
        end: The slot after the last that is seen.
        starts: The first slot of each row.
        device: Where it is to be computed.

    """
    slots = torch.arange(seen.since, end, device=device)
    slopes = torch.tensor(alibi.slopes, device=device)[:, None]
    if not alibi.in_bfloat16:
        # A softmax sees differences alone, so all rows may count back from the end, where numbers are small.
        return attrs.evolve(seen, bias=(slopes * (slots - (end - 1)) * alibi.scale)[None])
    # What is rounded depends on where it is counted from, which is each row's start.
    positions = (slots - torch.tensor(starts, device=device)[:, None]).clamp(min=0)
    rounded = slopes.bfloat16() * positions[:, None].bfloat16()
    return attrs.evolve(seen, bias=rounded.float() * alibi.scale)
