"""A model from a checkpoint: each tensor read once, to where it lives."""

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.dtypes import STORED_AS
from litgpt.adapters.pytorch.gpt import GPT
from litgpt.adapters.pytorch.pieces import Sources
from litgpt.adapters.pytorch.quantised.choosing import put_quantised
from litgpt.domain.architecture import Architecture
from litgpt.domain.ports.model_store import Checkpoint
from litgpt.domain.quantization import Quantization, is_quantised
from litgpt.domain.reporting import Progress, Report
from litgpt.domain.tensors import DType
from litgpt.domain.weights import Join

GPTT = TypeVar("GPTT", bound=GPT)


def assemble(
    architecture: Architecture,
    joins: tuple[Join, ...],
    checkpoint: Checkpoint[Tensor],
    *,
    device: torch.device,
    dtype: DType,
    report: Report,
    quantize: Quantization | None = None,
) -> GPT:
    """Return the model with its weights, in inference mode and without gradients.

    A tensor that the file has in `dtype`, for a model on the CPU, is not copied: it is the file,
    memory-mapped.

    Raises:
        DamagedFile: A tensor has not the shape that the headers promised.

    """
    with torch.device("meta"):
        model = GPT(architecture)
    return fill(
        model, joins, checkpoint, device=lambda _: device, dtype=dtype, report=report, quantize=quantize
    )


def fill(
    model: GPTT,
    joins: Sequence[Join],
    checkpoint: Checkpoint[Tensor],
    *,
    device: Callable[[str], torch.device],
    dtype: DType,
    report: Report,
    zero: Collection[str] = (),
    quantize: Quantization | None = None,
) -> GPTT:
    """Give a network that has no weights yet its weights, and return it, in inference mode.

    Args:
        model: The network.
        joins: What its parameters are read from.
        checkpoint: Where from.
        device: Where a parameter lives, by its name.
        dtype: What the weights are to be in.
        report: Told of the progress.
        zero: Parameters that are to be zeros, whatever the checkpoint has.
        quantize: How to quantise projections, one by one; the whole model never exists unquantised.

    """
    sources = Sources(checkpoint, joins)
    for done, join in enumerate(joins):
        report(Progress(f"Loading {checkpoint.name}", done, len(joins)))
        name = join.parameter.name
        if quantize is not None and is_quantised(join.parameter):
            put_quantised(
                model,
                name,
                sources.parameter(join, device(name), _exactly(checkpoint, join, dtype)),
                quantize,
            )
            continue
        parent, _, leaf = name.rpartition(".")
        buffer = join.parameter.role == "buffer"
        value = sources.parameter(join, device(name), "float32" if buffer else dtype)
        if name in zero:
            value = torch.zeros_like(value)
        setattr(
            model.get_submodule(parent), leaf, value if buffer else nn.Parameter(value, requires_grad=False)
        )
    report(Progress(f"Loading {checkpoint.name}", len(joins), len(joins)))
    model.tie_weights()
    return model.eval()


def _exactly(checkpoint: Checkpoint[Tensor], join: Join, dtype: DType) -> DType:
    """Return what to read a parameter in for nothing to be rounded before it is quantised."""
    stored = {checkpoint.tensors[name].stored_as for name in join.theirs}
    return dtype if stored == {STORED_AS[dtype]} else "float32"
