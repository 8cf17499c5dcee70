"""A model from a checkpoint: each tensor read once, to where it lives."""

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.ops.dtypes import SAFETENSORS_DTYPES
from litgpt.adapters.pytorch.ops.tensor_views import TensorReader
from litgpt.adapters.pytorch.quantization.registry import replace_linear
from litgpt.domain.model import Architecture
from litgpt.domain.ports.model_store import Checkpoint
from litgpt.domain.progress import Progress, Reporter
from litgpt.domain.quantization import Quantization, is_quantized
from litgpt.domain.weights.mapping import ParameterSource
from litgpt.domain.weights.tensor_info import DType

GPTT = TypeVar("GPTT", bound=GPT)


def build_model(
    architecture: Architecture,
    parameter_sources: tuple[ParameterSource, ...],
    checkpoint: Checkpoint[Tensor],
    *,
    device: torch.device,
    dtype: DType,
    report: Reporter,
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
    return load_weights(
        model,
        parameter_sources,
        checkpoint,
        device=lambda _: device,
        dtype=dtype,
        report=report,
        quantize=quantize,
    )


def load_weights(
    model: GPTT,
    parameter_sources: Sequence[ParameterSource],
    checkpoint: Checkpoint[Tensor],
    *,
    device: Callable[[str], torch.device],
    dtype: DType,
    report: Reporter,
    zeroed: Collection[str] = (),
    quantize: Quantization | None = None,
) -> GPTT:
    """Give a network that has no weights yet its weights, and return it, in inference mode.

    Args:
        model: The network.
        parameter_sources: What its parameters are read from.
        checkpoint: Where from.
        device: Where a parameter lives, by its name.
        dtype: What the weights are to be in.
        report: Told of the progress.
        zeroed: Parameters that are to be zeros, whatever the checkpoint has.
        quantize: How to quantize projections, one by one; the whole model never exists unquantized.

    """
    sources = TensorReader(checkpoint, parameter_sources)
    for done, join in enumerate(parameter_sources):
        report(Progress(f"Loading {checkpoint.name}", done, len(parameter_sources)))
        name = join.parameter.name
        if quantize is not None and is_quantized(join.parameter):
            replace_linear(
                model,
                name,
                sources.read_parameter(join, device(name), _lossless_dtype(checkpoint, join, dtype)),
                quantize,
            )
            continue
        parent, _, leaf = name.rpartition(".")
        buffer = join.parameter.role == "buffer"
        value = sources.read_parameter(join, device(name), "float32" if buffer else dtype)
        if name in zeroed:
            value = torch.zeros_like(value)
        setattr(
            model.get_submodule(parent), leaf, value if buffer else nn.Parameter(value, requires_grad=False)
        )
    report(Progress(f"Loading {checkpoint.name}", len(parameter_sources), len(parameter_sources)))
    model.tie_weights()
    return model.eval()


def _lossless_dtype(checkpoint: Checkpoint[Tensor], source: ParameterSource, dtype: DType) -> DType:
    """Return what to read a parameter in for nothing to be rounded before it is quantized."""
    stored = {checkpoint.tensors[name].storage_format for name in source.hf_names}
    return dtype if stored == {SAFETENSORS_DTYPES[dtype]} else "float32"
