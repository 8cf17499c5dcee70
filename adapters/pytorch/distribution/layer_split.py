"""Models in this process: on one device, or with consecutive layers on several devices."""

import attrs
import torch
from torch import Tensor

from litgpt.adapters.pytorch.distribution.placed_gpt import PlacedGPT
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.weights.loader import load_weights
from litgpt.domain.distribution.placement import Placement
from litgpt.domain.model import Architecture
from litgpt.domain.parallel.layer_split import assign_layers, is_output_parameter
from litgpt.domain.ports.model_store import Checkpoint
from litgpt.domain.progress import Reporter
from litgpt.domain.weights.mapping import ParameterSource


@attrs.frozen
class LayerSplit:
    """Places consecutive layers on the devices of the placement; each token passes through all of them.

    With `num_gpu_layers`, the remaining layers are on the CPU. The embedding is on the device of the first
    layer; the final norm and the head are on the last device, but with the embedding if the head is tied.
    """

    def build(
        self,
        placement: Placement,
        architecture: Architecture,
        sources: tuple[ParameterSource, ...],
        checkpoint: Checkpoint[Tensor],
        report: Reporter,
    ) -> PlacedGPT:
        layers = _layer_devices(placement, architecture)
        first = layers[0]
        head = first if architecture.tie_word_embeddings else torch.device(placement.devices[-1])
        is_split = {*layers, head} != {first}  # if not, the module may be moved, as by a Trainer
        with torch.device("meta"):
            network = (
                GPT(architecture, layer_devices=layers, head_device=head) if is_split else GPT(architecture)
            )

        def device_of(name: str) -> torch.device:
            parts = name.split(".")
            if parts[:2] == ["transformer", "h"]:
                return layers[int(parts[2])]
            return head if is_output_parameter(name) else first

        load_weights(
            network,
            sources,
            checkpoint,
            device=device_of,
            dtype=placement.dtype,
            report=report,
            quantize=placement.quantize,
        )
        if placement.trainable:
            network.requires_grad_().train()
        return PlacedGPT(network, placement)


def _layer_devices(placement: Placement, architecture: Architecture) -> list[torch.device]:
    devices = [torch.device(device) for device in placement.devices]
    if (on_gpu := placement.num_gpu_layers) is not None:
        return [devices[0]] * on_gpu + [torch.device("cpu")] * (len(architecture.layers) - on_gpu)
    return [devices[index] for index in assign_layers(architecture, len(devices))]
