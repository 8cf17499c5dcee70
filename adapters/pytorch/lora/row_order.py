"""PEFT's A and B by the rows of transformers' tensors, and ours by the rows of our layers."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from litgpt.adapters.pytorch.ops.tensor_views import as_view
from litgpt.domain.lora.targets import LoraTarget, TargetRows


def expert_pair(target: LoraTarget, lora_A: Tensor, lora_B: Tensor) -> tuple[Tensor, Tensor]:
    """Return our A (R, in) and B (out, R) of a place, which may be one of the experts that PEFT's are for."""
    if target.num_experts > 1:
        lora_A = lora_A.unflatten(0, (target.num_experts, -1))[target.expert_index]
        lora_B = lora_B.unflatten(1, (-1, target.num_experts))[..., target.expert_index]
    return (
        (lora_B.T.contiguous(), lora_A.T.contiguous())
        if target.swaps_a_and_b
        else (lora_A.contiguous(), lora_B.contiguous())
    )


def stacked_pair(
    targets: Sequence[LoraTarget], pairs: Sequence[tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
    """Return PEFT's A and B of the places, one or one for each expert, that one pair of PEFT's is for."""
    turned = [
        (b.T, a.T) if place.swaps_a_and_b else (a, b) for place, (a, b) in zip(targets, pairs, strict=True)
    ]
    if len(turned) == 1:
        return turned[0][0].contiguous(), turned[0][1].contiguous()
    order = sorted(range(len(targets)), key=lambda at: targets[at].expert_index)
    a = torch.cat([turned[at][0] for at in order])
    b = torch.stack([turned[at][1] for at in order], -1).flatten(1)
    return a.contiguous(), b.contiguous()


def from_hf(target: LoraTarget, lora_B: Tensor) -> dict[str, Tensor]:
    """Return the B of each of our layers, in the order of its rows.

    Args:
        target: What the pair is for.
        lora_B: (out, R), in the order of transformers.

    """
    lora_B = lora_B.contiguous()
    rank = lora_B.shape[1]
    return {
        rows.layer: torch.cat([as_view(piece, lora_B).flatten(0, 1) for piece in rows.views_for_rank(rank)])
        for rows in target.rows
    }


def to_hf(target: LoraTarget, lora_B: Mapping[str, Tensor]) -> Tensor:
    """Return the B (out, R) of transformers.

    Args:
        target: What the pair is for.
        lora_B: The B of each of our layers.

    """
    rank = next(iter(lora_B.values())).shape[1]
    made = next(iter(lora_B.values())).new_zeros(target.out_features, rank)
    for rows in target.rows:
        _write(rows, lora_B[rows.layer], made)
    return made


def _write(rows: TargetRows, lora_B: Tensor, out: Tensor) -> None:
    at = 0
    for piece in rows.views_for_rank(lora_B.shape[1]):
        as_view(piece, out).copy_(lora_B[at : at + piece.num_rows].unflatten(0, (piece.num_blocks, -1)))
        at += piece.num_rows
