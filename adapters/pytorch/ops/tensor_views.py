"""The views through which a checkpoint's tensors are read, and written."""

from collections import Counter
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from litgpt.adapters.pytorch.ops.dtypes import TORCH_DTYPES
from litgpt.domain.errors import CorruptFile
from litgpt.domain.ports.model_store import Checkpoint
from litgpt.domain.weights.mapping import ParameterSource, TensorTarget
from litgpt.domain.weights.tensor_info import DType
from litgpt.domain.weights.tensor_view import TensorView


def as_view(view: TensorView, tensor: Tensor) -> Tensor:
    """Return a piece of their tensor as a view of it: (runs, rows of each run, …)."""
    sizes, strides, offset = view.strided_layout
    return tensor.as_strided(sizes, strides, tensor.storage_offset() + offset)


class TensorReader:
    """A checkpoint's tensors, each read once although several parameters may be made of it.

    Args:
        checkpoint: Whose.
        joins: What will be made of them, each once.

    """

    def __init__(self, checkpoint: Checkpoint[Tensor], sources: Sequence[ParameterSource]) -> None:
        self._checkpoint = checkpoint
        self._remaining_reads = Counter(name for join in sources for name in join.hf_names)
        self._cached: dict[str, Tensor] = {}

    def read_parameter(self, source: ParameterSource, device: torch.device, dtype: DType) -> Tensor:
        """Return a parameter on its device: where it can be, on the CPU, the file itself and no copy.

        Raises:
            DamagedFile: A tensor has not the shape that the headers promised.

        """
        if len(source.views) == 1:
            part = as_view(source.views[0], self._read(source.views[0], dtype))
            return part.flatten(0, 1).to(device, TORCH_DTYPES[dtype]).contiguous()
        joined = torch.empty(source.parameter.shape, dtype=TORCH_DTYPES[dtype], device=device)
        row = 0
        for piece in source.views:
            room = joined[row : row + piece.num_rows].unflatten(0, (piece.num_blocks, -1))
            room.copy_(as_view(piece, self._read(piece, dtype)))
            row += piece.num_rows
        return joined

    def _read(self, view: TensorView, dtype: DType) -> Tensor:
        name = view.name
        tensor = self._cached.pop(name, None)
        if tensor is None:
            tensor = self._checkpoint.read(name, dtype).contiguous()
        if tuple(tensor.shape) != view.shape:
            raise CorruptFile(self._checkpoint.origin, f"{name} came as {list(tensor.shape)}.")
        self._remaining_reads[name] -= 1
        if self._remaining_reads[name]:
            self._cached[name] = tensor
        return tensor


def to_hf_tensor(targets: Sequence[TensorTarget], read_parameter: Callable[[str], Tensor]) -> Tensor:
    """Return a tensor of theirs, made of ours: a view where it is rows of one, otherwise a new tensor.

    Args:
        targets: What is written into it.
        read_parameter: Returns a parameter by its name.

    """
    first = targets[0]
    if len(targets) == 1 and first.view.is_full:
        whole = read_parameter(first.parameter.name)
        return whole if first.view.num_rows == whole.shape[0] else whole[first.start :][: first.view.num_rows]
    made: Tensor | None = None
    for use in targets:
        tensor = read_parameter(use.parameter.name)
        if made is None:
            made = tensor.new_empty(use.view.shape)
        rows = tensor[use.start :][: use.view.num_rows]
        as_view(use.view, made).copy_(rows.unflatten(0, (use.view.num_blocks, -1)))
    assert made is not None  # noqa: S101 - there is a use for each tensor of theirs
    return made
