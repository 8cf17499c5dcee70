"""The DistributionStrategy that puts layers on several devices, one after another."""

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
    """Return a model whose layers are where they are said to be.

    Args:
        layer_devices: Each layer's device; the embedding is with the first.
        output_device: That of the head, if it is not the embedding; the last norm is with the head.
        architecture: What to build.
        sources: What its parameters are read from.
        checkpoint: Where from.
        dtype: What the weights are to be in.
        report: Told of the progress.
        quantize: How to quantize projections.

    """
    first = layer_devices[0]
    with torch.device("meta"):
        model = GPT(architecture)
    head = first if architecture.tie_word_embeddings else output_device
    model.layer_devices, model.head_device = layer_devices, head

    def home(name: str) -> torch.device:
        parts = name.split(".")
        if parts[:2] == ["transformer", "h"]:
            return layer_devices[int(parts[2])]
        return head if is_output_parameter(name) else first

    return load_weights(
        model, sources, checkpoint, device=home, dtype=dtype, report=report, quantize=quantize
    )


@attrs.frozen
class LayerSplit:
    """Layers over devices: each token passes from the first to the last."""

    def hardware(self, released_model: GPT | None = None) -> Hardware:
        """Return what this machine has, the memory of a model that is about to be released included."""
        return detect_hardware(released_model)

    def build(
        self,
        placement: Placement,
        architecture: Architecture,
        sources: tuple[ParameterSource, ...],
        checkpoint: Checkpoint[Tensor],
        report: Reporter,
    ) -> GPT:
        """Build the model and read each tensor once, to the device that has its layer.

        Raises:
            OutOfReach: There are more devices than layers.

        """
        devices = [torch.device(one) for one in placement.devices]
        of_layer = [devices[at] for at in assign_layers(architecture, len(devices))]
        return build_on_devices(
            of_layer,
            devices[-1],
            architecture,
            sources,
            checkpoint,
            dtype=placement.dtype,
            report=report,
            quantize=placement.quantize,
        )

    def release(self, model: GPT) -> None:
        """Do nothing: the model holds nothing but its memory."""

    def weights(
        self, model: GPT, sources: Sequence[ParameterSource]
    ) -> AbstractContextManager[ModelExporter]:
        """Give what a model's weights are now, to be written."""
        return nullcontext(ModelExporter.from_model(model, sources))

    def generator(self, model: GPT, placement: Placement) -> TorchGenerator:
        """Return what generates with `model`."""
        return TorchGenerator(model, placement.kv_cache_size)
