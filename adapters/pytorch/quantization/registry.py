"""The layer class of each quantization."""

import torch
from torch import Tensor, nn

from litgpt.adapters.pytorch.quantization.bnb import Bnb4Linear, Bnb8Linear
from litgpt.adapters.pytorch.quantization.int4 import Int4Linear
from litgpt.adapters.pytorch.quantization.int8 import Int8Linear
from litgpt.adapters.pytorch.quantization.quantized_linear import QuantizedLinear
from litgpt.domain.quantization import Quantization

QUANTIZED_LINEARS: dict[Quantization, type[QuantizedLinear]] = {
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
def replace_linear(model: nn.Module, name: str, weight: Tensor, quantization: Quantization) -> None:
    """Replace the linear layer of the weight `name` by a quantized one with this weight (out, in)."""
    layer = name.removesuffix(".weight")
    parent, _, leaf = layer.rpartition(".")
    linear = model.get_submodule(layer)
    assert isinstance(linear, nn.Linear)  # noqa: S101 - only linear layers are quantized
    quantized = QUANTIZED_LINEARS[quantization].from_weight(weight.float(), quantization, linear.bias)
    setattr(model.get_submodule(parent), leaf, quantized)


def quantized_layers(model: nn.Module) -> dict[str, QuantizedLinear]:
    """Return the quantized layers of a model, by the parameter names of their weights."""
    return {
        f"{name}.weight": module
        for name, module in model.named_modules()
        if isinstance(module, QuantizedLinear)
    }
