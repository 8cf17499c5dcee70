"""A model from a checkpoint: each tensor read once, to where it lives."""

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.dtypes import TORCH
from litgpt.adapters.pytorch.gpt import GPT
from litgpt.domain.architecture import Architecture
from litgpt.domain.errors import DamagedFile
from litgpt.domain.ports.model_store import Checkpoint
from litgpt.domain.reporting import Progress, Report
from litgpt.domain.tensors import DType
from litgpt.domain.weights import Join


def assemble(
    architecture: Architecture,
    joins: tuple[Join, ...],
    checkpoint: Checkpoint[Tensor],
    *,
    device: torch.device,
    dtype: DType,
    report: Report,
) -> GPT:
    """Return the model with its weights, in inference mode and without gradients.

    A tensor that the file has in `dtype`, for a model on the CPU, is not copied: it is the file,
    memory-mapped.

    Raises:
        DamagedFile: A tensor has not the shape that the headers promised.

    """
    with torch.device("meta"):
        model = GPT(architecture)
    for done, join in enumerate(joins):
        report(Progress(f"Loading {checkpoint.name}", done, len(joins)))
        parent, _, leaf = join.parameter.name.rpartition(".")
        tensor = _read(join, checkpoint, device, dtype)
        if tuple(tensor.shape) != join.parameter.shape:
            raise DamagedFile(checkpoint.origin, f"{' + '.join(join.theirs)} came as {list(tensor.shape)}.")
        setattr(model.get_submodule(parent), leaf, nn.Parameter(tensor, requires_grad=False))
    report(Progress(f"Loading {checkpoint.name}", len(joins), len(joins)))
    model.tie_weights()
    return model.eval()


def _read(join: Join, checkpoint: Checkpoint[Tensor], device: torch.device, dtype: DType) -> Tensor:
    if len(join.theirs) == 1:
        return checkpoint.read(join.theirs[0], dtype).to(device)
    joined = torch.empty(join.parameter.shape, dtype=TORCH[dtype], device=device)
    row = 0
    for name, rows in zip(join.theirs, join.parameter.rows, strict=True):
        joined[row : row + rows] = checkpoint.read(name, dtype)
        row += rows
    return joined
