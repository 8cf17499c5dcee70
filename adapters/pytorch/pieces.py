"""The views through which a checkpoint's tensors are read, and written."""

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from litgpt.adapters.pytorch.dtypes import TORCH
from litgpt.domain.errors import DamagedFile
from litgpt.domain.ports.model_store import Checkpoint
from litgpt.domain.tensors import DType
from litgpt.domain.weights import Join, Piece


def seen(piece: Piece, tensor: Tensor) -> Tensor:
    """Return a piece of their tensor as a view of it: (rows, …), or (runs, rows of each run, …)."""
    if piece.expert is not None:
        tensor = tensor[piece.expert]
    if piece.transposed:
        tensor = tensor.mT
    if piece.runs == 1:
        return tensor[piece.start : piece.stop]
    runs: Tensor = tensor.unflatten(0, (piece.runs, -1))
    return runs[:, piece.start : piece.stop]


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
            piece = join.pieces[0]
            part = seen(piece, self._read(piece, dtype))
            return (part if piece.runs == 1 else part.flatten(0, 1)).to(device).contiguous()
        joined = torch.empty(join.parameter.shape, dtype=TORCH[dtype], device=device)
        row = 0
        for piece in join.pieces:
            part = seen(piece, self._read(piece, dtype))
            room = joined[row : row + piece.rows]
            (room if piece.runs == 1 else room.unflatten(0, (piece.runs, -1))).copy_(part)
            row += piece.rows
        return joined

    def _read(self, piece: Piece, dtype: DType) -> Tensor:
        name = piece.name
        tensor = self._held.pop(name, None)
        if tensor is None:
            tensor = self._checkpoint.read(name, dtype)
        if tuple(tensor.shape) != piece.shape:
            raise DamagedFile(self._checkpoint.origin, f"{name} came as {list(tensor.shape)}.")
        self._wanted[name] -= 1
        if self._wanted[name]:
            self._held[name] = tensor
        return tensor
