"""The DistributionStrategy that puts the whole model on one device."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import attrs
import torch
from torch import Tensor

from litgpt.adapters.pytorch.assemble import assemble
from litgpt.adapters.pytorch.generator import TorchGenerator
from litgpt.adapters.pytorch.gpt import GPT
from litgpt.adapters.pytorch.hardware import hardware
from litgpt.adapters.pytorch.sequential import over_devices
from litgpt.adapters.pytorch.weights import ModelWeights
from litgpt.domain.architecture import Architecture
from litgpt.domain.placement import Hardware, Placement
from litgpt.domain.ports.model_store import Checkpoint
from litgpt.domain.reporting import Report
from litgpt.domain.weights import Join


@attrs.frozen
class SingleDevice:
    """One device, the whole model on it."""

    def hardware(self, replaced: GPT | None = None) -> Hardware:
        """Return what this machine has, the memory of a model that is about to be released included."""
        return hardware(replaced)

    def build(
        self,
        placement: Placement,
        architecture: Architecture,
        joins: tuple[Join, ...],
        checkpoint: Checkpoint[Tensor],
        report: Report,
    ) -> GPT:
        """Build the model and read each tensor once, to where it lives."""
        device, dtype, quantize = torch.device(placement.device), placement.dtype, placement.quantize
        if placement.resident is not None:
            away = len(architecture.layers) - placement.resident
            of_layer = [device] * placement.resident + [torch.device("cpu")] * away
            return over_devices(
                of_layer,
                device,
                architecture,
                joins,
                checkpoint,
                dtype=dtype,
                report=report,
                quantize=quantize,
            )
        model = assemble(
            architecture,
            joins,
            checkpoint,
            device=device,
            dtype=dtype,
            report=report,
            quantize=quantize,
        )
        return model.requires_grad_().train() if placement.trains else model

    def weights(self, model: GPT, joins: Sequence[Join]) -> AbstractContextManager[ModelWeights]:
        """Give what a model's weights are now, to be written."""
        return nullcontext(ModelWeights.of(model, joins))

    def release(self, model: GPT) -> None:
        """Do nothing: a model on one device holds nothing but its memory."""

    def generator(self, model: GPT, placement: Placement) -> TorchGenerator:
        """Return what generates with `model`."""
        return TorchGenerator(model, placement.cache_size)
