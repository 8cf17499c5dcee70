"""The sequential strategy: consecutive layers on consecutive devices."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import attrs
import torch
from torch import Tensor

from litgpt.adapters.pytorch.generation.generator import TorchGenerator
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.runtime.hardware import detect_hardware
from litgpt.adapters.pytorch.weights.exporter import ModelExporter
from litgpt.adapters.pytorch.weights.loader import load_weights
from litgpt.domain.distribution.placement import Hardware, Placement
from litgpt.domain.model import Architecture
from litgpt.domain.parallel.layer_split import assign_layers, is_output_parameter
from litgpt.domain.ports.model_store import Checkpoint
from litgpt.domain.progress import Reporter
from litgpt.domain.quantization import Quantization
from litgpt.domain.weights.mapping import ParameterSource
from litgpt.domain.weights.tensor_info import DType


def build_on_devices(
    layer_devices: list[torch.device],
    output_device: torch.device,
    architecture: Architecture,
    sources: tuple[ParameterSource, ...],
    checkpoint: Checkpoint[Tensor],
    *,
    dtype: DType,
    report: Reporter,
    quantize: Quantization | None = None,
) -> GPT:
    """Build a model with each layer on its own device; the embedding is on the first.

    The final norm and the head are on `output_device`, but a tied head stays with the embedding.
    """
    first = layer_devices[0]
    with torch.device("meta"):
        model = GPT(architecture)
    head = first if architecture.tie_word_embeddings else output_device
    model.layer_devices, model.head_device = layer_devices, head

    def device_of(name: str) -> torch.device:
        parts = name.split(".")
        if parts[:2] == ["transformer", "h"]:
            return layer_devices[int(parts[2])]
        return head if is_output_parameter(name) else first

    return load_weights(
        model, sources, checkpoint, device=device_of, dtype=dtype, report=report, quantize=quantize
    )


class InProcess:
    """The parts that strategies without worker processes share."""

    def hardware(self, released_model: GPT | None = None) -> Hardware:
        return detect_hardware(released_model)

    def release(self, model: GPT) -> None:
        """Do nothing: the model has no processes to end."""

    def weights(
        self, model: GPT, sources: Sequence[ParameterSource]
    ) -> AbstractContextManager[ModelExporter]:
        return nullcontext(ModelExporter.from_model(model, sources))

    def generator(self, model: GPT, placement: Placement) -> TorchGenerator:
        return TorchGenerator(model, placement.kv_cache_size)


@attrs.frozen
class LayerSplit(InProcess):
    """Places consecutive layers on consecutive devices; each token passes through all of them."""

    def build(
        self,
        placement: Placement,
        architecture: Architecture,
        sources: tuple[ParameterSource, ...],
        checkpoint: Checkpoint[Tensor],
        report: Reporter,
    ) -> GPT:
        devices = [torch.device(device) for device in placement.devices]
        layer_devices = [devices[index] for index in assign_layers(architecture, len(devices))]
        return build_on_devices(
            layer_devices,
            devices[-1],
            architecture,
            sources,
            checkpoint,
            dtype=placement.dtype,
            report=report,
            quantize=placement.quantize,
        )
