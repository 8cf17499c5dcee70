"""PEFT's A and B by the rows of transformers' tensors, and ours by the rows of our layers."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from litgpt.adapters.pytorch.pieces import seen
from litgpt.domain.lora_places import Place, Rows


def of_expert(place: Place, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Return our A (R, in) and B (out, R) of a place, which may be one of the experts that PEFT's are for."""
    if place.experts > 1:
        a = a.unflatten(0, (place.experts, -1))[place.expert]
        b = b.unflatten(1, (-1, place.experts))[..., place.expert]
    return (b.T.contiguous(), a.T.contiguous()) if place.swapped else (a.contiguous(), b.contiguous())


def of_peft(where: Sequence[Place], pairs: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Return PEFT's A and B of the places, one or one for each expert, that one pair of PEFT's is for."""
    turned = [(b.T, a.T) if place.swapped else (a, b) for place, (a, b) in zip(where, pairs, strict=True)]
    if len(turned) == 1:
        return turned[0][0].contiguous(), turned[0][1].contiguous()
    order = sorted(range(len(where)), key=lambda at: where[at].expert)
    a = torch.cat([turned[at][0] for at in order])
    b = torch.stack([turned[at][1] for at in order], -1).flatten(1)
    return a.contiguous(), b.contiguous()


def ours(place: Place, b: Tensor) -> dict[str, Tensor]:
    """Return the B of each of our layers, in the order of its rows.

    Args:
        place: What the pair is for.
        b: (out, R), in the order of transformers.

    """
    b = b.contiguous()
    rank = b.shape[1]
    return {
        rows.layer: torch.cat([seen(piece, b).flatten(0, 1) for piece in rows.of_rank(rank)])
        for rows in place.rows
    }


def theirs(place: Place, bs: Mapping[str, Tensor]) -> Tensor:
    """Return the B (out, R) of transformers.

    Args:
        place: What the pair is for.
        bs: The B of each of our layers.

    """
    rank = next(iter(bs.values())).shape[1]
    made = next(iter(bs.values())).new_zeros(place.outputs, rank)
    for rows in place.rows:
        _write(rows, bs[rows.layer], made)
    return made


def _write(rows: Rows, b: Tensor, made: Tensor) -> None:
    at = 0
    for piece in rows.of_rank(b.shape[1]):
        seen(piece, made).copy_(b[at : at + piece.rows].unflatten(0, (piece.runs, -1)))
        at += piece.rows
