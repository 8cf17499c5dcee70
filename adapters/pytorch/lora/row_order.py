"""Convert LoRA matrices between the row order of Hugging Face tensors and that of the model's layers."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from litgpt.adapters.pytorch.ops.tensor_views import as_view
from litgpt.domain.lora.targets import LoraTarget, TargetRows


def expert_pair(target: LoraTarget, lora_A: Tensor, lora_B: Tensor) -> tuple[Tensor, Tensor]:
    """Return A (R, in) and B (out, R) of a target, given PEFT's matrices, which may be for all experts."""
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
    """Return PEFT's A and B for one target, or for the targets of all experts. Inverse of `expert_pair`."""
    swapped = [
        (b.T, a.T) if target.swaps_a_and_b else (a, b) for target, (a, b) in zip(targets, pairs, strict=True)
    ]
    if len(swapped) == 1:
        return swapped[0][0].contiguous(), swapped[0][1].contiguous()
    order = sorted(range(len(targets)), key=lambda index: targets[index].expert_index)
    a = torch.cat([swapped[index][0] for index in order])
    b = torch.stack([swapped[index][1] for index in order], -1).flatten(1)
    return a.contiguous(), b.contiguous()


def from_hf(target: LoraTarget, lora_B: Tensor) -> dict[str, Tensor]:
    """Return the rows of `lora_B` (out, R), in Hugging Face order, that belong to each layer."""
    lora_B = lora_B.contiguous()
    rank = lora_B.shape[1]
    return {
        rows.layer: torch.cat([as_view(piece, lora_B).flatten(0, 1) for piece in rows.views_for_rank(rank)])
        for rows in target.rows
    }


def to_hf(target: LoraTarget, lora_B: Mapping[str, Tensor]) -> Tensor:
    """Return B (out, R) in Hugging Face order, given the B of each layer. Inverse of `from_hf`."""
    rank = next(iter(lora_B.values())).shape[1]
    out = next(iter(lora_B.values())).new_zeros(target.out_features, rank)
    for rows in target.rows:
        _write(rows, lora_B[rows.layer], out)
    return out


def _write(rows: TargetRows, lora_B: Tensor, out: Tensor) -> None:
    start = 0
    for view in rows.views_for_rank(lora_B.shape[1]):
        as_view(view, out).copy_(lora_B[start : start + view.num_rows].unflatten(0, (view.num_blocks, -1)))
        start += view.num_rows
