"""Which layer each way to quantise has."""

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.quantised.eight import Int8Linear
from litgpt.adapters.pytorch.quantised.four import Int4Linear
from litgpt.adapters.pytorch.quantised.linear import QuantisedLinear
from litgpt.adapters.pytorch.quantised.of_bitsandbytes import Bnb4Linear, Bnb8Linear
from litgpt.domain.quantization import Quantization

LAYERS: dict[Quantization, type[QuantisedLinear]] = {
    "int8": Int8Linear,
    "int4": Int4Linear,
    "bnb.nf4": Bnb4Linear,
    "bnb.nf4-dq": Bnb4Linear,
    "bnb.fp4": Bnb4Linear,
    "bnb.fp4-dq": Bnb4Linear,
    "bnb.int8": Bnb8Linear,
}


@torch.inference_mode(False)
@torch.no_grad()
def put_quantised(model: nn.Module, name: str, weight: Tensor, how: Quantization) -> None:
    """Put a quantised layer in the place of a linear one.

    Args:
        model: The network.
        name: The name of the layer's weight.
        weight: That, (out, in), where the layer is to live.
        how: How to quantise it.

    """
    layer = name.removesuffix(".weight")
    parent, _, leaf = layer.rpartition(".")
    linear = model.get_submodule(layer)
    assert isinstance(linear, nn.Linear)  # noqa: S101 - what is quantised are the projections
    made = LAYERS[how].of(weight.float(), how, linear.bias)
    setattr(model.get_submodule(parent), leaf, made)


def quantised_layers(model: nn.Module) -> dict[str, QuantisedLinear]:
    """Return a model's quantised layers, by the names that their weights would have."""
    return {
        f"{name}.weight": module
        for name, module in model.named_modules()
        if isinstance(module, QuantisedLinear)
    }
