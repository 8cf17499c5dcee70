"""The strategy for one device, with optional CPU offload."""

import attrs
import torch
from torch import Tensor

from litgpt.adapters.pytorch.distribution.layer_split import InProcess, build_on_devices
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.weights.loader import build_model
from litgpt.domain.distribution.placement import Placement
from litgpt.domain.model import Architecture
from litgpt.domain.ports.model_store import Checkpoint
from litgpt.domain.progress import Reporter
from litgpt.domain.weights.mapping import ParameterSource


@attrs.frozen
class SingleDevice(InProcess):
    """Places the model on one device; with `num_gpu_layers`, the remaining layers on the CPU."""

    def build(
        self,
        placement: Placement,
        architecture: Architecture,
        sources: tuple[ParameterSource, ...],
        checkpoint: Checkpoint[Tensor],
        report: Reporter,
    ) -> GPT:
        device, dtype, quantize = torch.device(placement.device), placement.dtype, placement.quantize
        if placement.num_gpu_layers is not None:
            num_cpu_layers = len(architecture.layers) - placement.num_gpu_layers
            layer_devices = [device] * placement.num_gpu_layers + [torch.device("cpu")] * num_cpu_layers
            return build_on_devices(
                layer_devices,
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
