"""Read and write parameters through strided views of checkpoint tensors."""

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
    """Return a view of a checkpoint tensor: (blocks, rows per block, …)."""
    sizes, strides, offset = view.strided_layout
    return tensor.as_strided(sizes, strides, tensor.storage_offset() + offset)


class TensorReader:
    """Reads parameters from a checkpoint, each once; tensors that several parameters share are read once."""

    def __init__(self, checkpoint: Checkpoint[Tensor], sources: Sequence[ParameterSource]) -> None:
        self._checkpoint = checkpoint
        self._remaining_reads = Counter(name for source in sources for name in source.hf_names)
        self._cached: dict[str, Tensor] = {}

    def read_parameter(self, source: ParameterSource, device: torch.device, dtype: DType) -> Tensor:
        """Return a parameter on its device; on the CPU, a view of the memory-mapped file if possible."""
        if len(source.views) == 1:
            part = as_view(source.views[0], self._read(source.views[0], dtype))
            return part.flatten(0, 1).to(device, TORCH_DTYPES[dtype]).contiguous()
        joined = torch.empty(source.parameter.shape, dtype=TORCH_DTYPES[dtype], device=device)
        row = 0
        for view in source.views:
            rows = joined[row : row + view.num_rows].unflatten(0, (view.num_blocks, -1))
            rows.copy_(as_view(view, self._read(view, dtype)))
            row += view.num_rows
        return joined

    def _read(self, view: TensorView, dtype: DType) -> Tensor:
        name = view.name
        tensor = self._cached.pop(name, None)
        if tensor is None:
            tensor = self._checkpoint.read(name, dtype).contiguous()
        if tuple(tensor.shape) != view.shape:
            reason = f"{name} has the shape {list(tensor.shape)}, expected {list(view.shape)}."
            raise CorruptFile(self._checkpoint.origin, reason)
        self._remaining_reads[name] -= 1
        if self._remaining_reads[name]:
            self._cached[name] = tensor
        return tensor


def to_hf_tensor(targets: Sequence[TensorTarget], read_parameter: Callable[[str], Tensor]) -> Tensor:
    """Build a Hugging Face tensor from parameters; a view if it consists of rows of a single parameter."""
    first = targets[0]
    if len(targets) == 1 and first.view.is_full:
        tensor = read_parameter(first.parameter.name)
        return (
            tensor if first.view.num_rows == tensor.shape[0] else tensor[first.start :][: first.view.num_rows]
        )
    result: Tensor | None = None
    for target in targets:
        tensor = read_parameter(target.parameter.name)
        if result is None:
            result = tensor.new_empty(target.view.shape)
        rows = tensor[target.start :][: target.view.num_rows]
        as_view(target.view, result).copy_(rows.unflatten(0, (target.view.num_blocks, -1)))
    assert result is not None  # noqa: S101 - each Hugging Face tensor has a target
    return result
