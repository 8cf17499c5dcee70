"""B by the rows of transformers' tensors and by the rows of our layers."""

from collections.abc import Mapping

import torch
from torch import Tensor

from litgpt.adapters.pytorch.pieces import seen
from litgpt.domain.lora_places import Place, Rows


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
