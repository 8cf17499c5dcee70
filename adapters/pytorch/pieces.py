"""The views through which a checkpoint's tensors are read, and written."""

from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from litgpt.adapters.pytorch.dtypes import TORCH
from litgpt.domain.errors import DamagedFile
from litgpt.domain.pieces import Piece
from litgpt.domain.ports.model_store import Checkpoint
from litgpt.domain.tensors import DType
from litgpt.domain.weights import Join, Use


def seen(piece: Piece, tensor: Tensor) -> Tensor:
    """Return a piece of their tensor as a view of it: (runs, rows of each run, …)."""
    sizes, strides, offset = piece.view
    return tensor.as_strided(sizes, strides, tensor.storage_offset() + offset)


class Sources:
    """A checkpoint's tensors, each read once although several parameters may be made of it.

    Args:
        checkpoint: Whose.
        joins: What will be made of them, each once.

    """

    def __init__(self, checkpoint: Checkpoint[Tensor], joins: Sequence[Join]) -> None:
        self._checkpoint = checkpoint
        self._wanted = Counter(name for join in joins for name in join.theirs)
        self._held: dict[str, Tensor] = {}

    def parameter(self, join: Join, device: torch.device, dtype: DType) -> Tensor:
        """Return a parameter on its device: where it can be, on the CPU, the file itself and no copy.

        Raises:
            DamagedFile: A tensor has not the shape that the headers promised.

        """
        if len(join.pieces) == 1:
            part = seen(join.pieces[0], self._read(join.pieces[0], dtype))
            return part.flatten(0, 1).to(device, TORCH[dtype]).contiguous()
        joined = torch.empty(join.parameter.shape, dtype=TORCH[dtype], device=device)
        row = 0
        for piece in join.pieces:
            room = joined[row : row + piece.rows].unflatten(0, (piece.runs, -1))
            room.copy_(seen(piece, self._read(piece, dtype)))
            row += piece.rows
        return joined

    def _read(self, piece: Piece, dtype: DType) -> Tensor:
        name = piece.name
        tensor = self._held.pop(name, None)
        if tensor is None:
            tensor = self._checkpoint.read(name, dtype).contiguous()
        if tuple(tensor.shape) != piece.shape:
            raise DamagedFile(self._checkpoint.origin, f"{name} came as {list(tensor.shape)}.")
        self._wanted[name] -= 1
        if self._wanted[name]:
            self._held[name] = tensor
        return tensor


def theirs(those: Sequence[Use], ours: Callable[[str], Tensor]) -> Tensor:
    """Return a tensor of theirs, made of ours: a view where it is rows of one, otherwise a new tensor.

    Args:
        those: What is written into it.
        ours: Returns a parameter by its name.

    """
    first = those[0]
    if len(those) == 1 and first.piece.whole:
        whole = ours(first.parameter.name)
        return whole if first.piece.rows == whole.shape[0] else whole[first.start :][: first.piece.rows]
    made: Tensor | None = None
    for use in those:
        tensor = ours(use.parameter.name)
        if made is None:
            made = tensor.new_empty(use.piece.shape)
        rows = tensor[use.start :][: use.piece.rows]
        seen(use.piece, made).copy_(rows.unflatten(0, (use.piece.runs, -1)))
    assert made is not None  # noqa: S101 - there is a use for each tensor of theirs
    return made
