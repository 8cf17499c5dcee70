"""Load weights from a checkpoint: each tensor is read once, to its device."""

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.ops.tensor_views import TensorReader
from litgpt.adapters.pytorch.quantization.registry import replace_linear
from litgpt.domain.ports.model_store import Checkpoint
from litgpt.domain.progress import Progress, Reporter
from litgpt.domain.quantization import Quantization, is_quantized
from litgpt.domain.weights.mapping import ParameterSource
from litgpt.domain.weights.tensor_info import STORAGE_FORMATS, DType

GPTT = TypeVar("GPTT", bound=GPT)


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
    """Load the weights of a model on the meta device and return it in eval mode.

    `device` returns the device of a parameter by name. Parameters in `zeroed` become zero regardless of the
    checkpoint. With `quantize`, projections are quantized one by one while loading.
    """
    reader = TensorReader(checkpoint, parameter_sources)
    for done, source in enumerate(parameter_sources):
        report(Progress(f"Loading {checkpoint.name}", done, len(parameter_sources)))
        name = source.parameter.name
        if quantize is not None and is_quantized(source.parameter):
            replace_linear(
                model,
                name,
                reader.read_parameter(source, device(name), _lossless_dtype(checkpoint, source, dtype)),
                quantize,
            )
            continue
        parent, _, leaf = name.rpartition(".")
        is_buffer = source.parameter.role == "buffer"
        value = reader.read_parameter(source, device(name), "float32" if is_buffer else dtype)
        if name in zeroed:
            value = torch.zeros_like(value)
        setattr(
            model.get_submodule(parent),
            leaf,
            value if is_buffer else nn.Parameter(value, requires_grad=False),
        )
    report(Progress(f"Loading {checkpoint.name}", len(parameter_sources), len(parameter_sources)))
    model.tie_weights()
    return model.eval()


def _lossless_dtype(checkpoint: Checkpoint[Tensor], source: ParameterSource, dtype: DType) -> DType:
    """Return the dtype that reads a parameter without rounding before it is quantized."""
    stored = {checkpoint.tensors[name].storage_format for name in source.hf_names}
    return dtype if stored == {STORAGE_FORMATS[dtype]} else "float32"
