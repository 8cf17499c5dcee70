"""A network without weights, to which adapters are attached whose base model runs in another engine."""

import torch
from torch import nn

from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.domain.model import Architecture
from litgpt.domain.weights.tensor_info import DType


def skeleton(architecture: Architecture, dtype: DType) -> GPT:
    """Return a network whose parameters have their shapes, but no memory: all are views of a single zero."""
    with torch.device("meta"):
        network = GPT(architecture)
    for module in network.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            value = torch.zeros((), dtype=getattr(torch, dtype)).expand(parameter.shape)
            setattr(module, name, nn.Parameter(value, requires_grad=False))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, torch.zeros((), dtype=buffer.dtype).expand(buffer.shape))
    network.tie_weights()
    return network.eval()
