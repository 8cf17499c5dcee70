"""A model from a checkpoint: each tensor read once, to where it lives."""

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.gpt import GPT
from litgpt.adapters.pytorch.pieces import Sources
from litgpt.domain.architecture import Architecture
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
    sources = Sources(checkpoint, joins)
    for done, join in enumerate(joins):
        report(Progress(f"Loading {checkpoint.name}", done, len(joins)))
        parent, _, leaf = join.parameter.name.rpartition(".")
        if join.parameter.role == "buffer":
            value = sources.parameter(join, device, "float32")
        else:
            value = nn.Parameter(sources.parameter(join, device, dtype), requires_grad=False)
        setattr(model.get_submodule(parent), leaf, value)
    report(Progress(f"Loading {checkpoint.name}", len(joins), len(joins)))
    model.tie_weights()
    return model.eval()
