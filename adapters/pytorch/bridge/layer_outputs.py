"""The output of each layer of a model, to compare this library's network with transformers'.

Shapes: T tokens, V vocabulary size, D hidden size.
"""

from typing import Any

import attrs
import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.bridge.model import BridgedModel
from litgpt.adapters.pytorch.model.causal_lm import CausalLM


@attrs.frozen(eq=False)
class LayerOutputs:
    """What one forward pass computes, in float32 on the CPU.

    Attributes:
        layers: The residual stream (T, D) after each layer; empty if the layers could not be found.
        logits: (T, V).
    """

    layers: tuple[Tensor, ...]
    logits: Tensor


@torch.inference_mode()
def layer_outputs(model: CausalLM, ids: Tensor) -> LayerOutputs:
    """Compute a text (1, T) in one forward pass without a cache."""
    outputs: dict[int, Tensor] = {}

    def keep(number: int, output: Any) -> None:
        outputs[number] = _on_cpu(output[0] if isinstance(output, tuple) else output)

    hooks = [
        layer.register_forward_hook(lambda _, __, output, number=number: keep(number, output))
        for number, layer in enumerate(_layers(model))
    ]
    try:
        logits = _on_cpu(model(ids))
    finally:
        for hook in hooks:
            hook.remove()
    return LayerOutputs(tuple(outputs[number] for number in sorted(outputs)), logits)


def relative_difference(actual: Tensor, reference: Tensor) -> float:
    """Return the largest difference, relative to the largest value of the reference."""
    scale = float(reference.abs().max()) or 1.0
    return float((actual - reference).abs().max()) / scale


def _layers(model: CausalLM) -> nn.ModuleList:
    count = len(model.architecture.layers)
    root = model.hf_model if isinstance(model, BridgedModel) else model
    lists = (module for module in root.modules() if isinstance(module, nn.ModuleList))
    return next((found for found in lists if len(found) == count), nn.ModuleList())


def _on_cpu(tensor: Tensor) -> Tensor:
    return tensor[0].detach().cpu().float()
