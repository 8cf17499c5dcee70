"""The DistributionStrategy that puts the whole model on one device."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import attrs
import torch
from torch import Tensor

from litgpt.adapters.pytorch.distribution.layer_split import build_on_devices
from litgpt.adapters.pytorch.generation.generator import TorchGenerator
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.runtime.hardware import detect_hardware
from litgpt.adapters.pytorch.weights.exporter import ModelExporter
from litgpt.adapters.pytorch.weights.loader import build_model
from litgpt.domain.distribution.placement import Hardware, Placement
from litgpt.domain.model import Architecture
from litgpt.domain.ports.model_store import Checkpoint
from litgpt.domain.progress import Reporter
from litgpt.domain.weights.mapping import ParameterSource


@attrs.frozen
class SingleDevice:
    """One device, the whole model on it."""

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
        """Build the model and read each tensor once, to where it lives."""
        device, dtype, quantize = torch.device(placement.device), placement.dtype, placement.quantize
        if placement.num_gpu_layers is not None:
            away = len(architecture.layers) - placement.num_gpu_layers
            of_layer = [device] * placement.num_gpu_layers + [torch.device("cpu")] * away
            return build_on_devices(
                of_layer,
                device,
                architecture,
                sources,
                checkpoint,
                dtype=dtype,
                report=report,
                quantize=quantize,
            )
        model = build_model(
            architecture,
            sources,
            checkpoint,
            device=device,
            dtype=dtype,
            report=report,
            quantize=quantize,
        )
        return model.requires_grad_().train() if placement.trainable else model

    def weights(
        self, model: GPT, sources: Sequence[ParameterSource]
    ) -> AbstractContextManager[ModelExporter]:
        """Give what a model's weights are now, to be written."""
        return nullcontext(ModelExporter.from_model(model, sources))

    def release(self, model: GPT) -> None:
        """Do nothing: a model on one device holds nothing but its memory."""

    def generator(self, model: GPT, placement: Placement) -> TorchGenerator:
        """Return what generates with `model`."""
        return TorchGenerator(model, placement.kv_cache_size)
