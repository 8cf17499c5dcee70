"""The number of tokens for which there is memory in the KV cache."""

from collections import Counter

import torch

from litgpt.adapters.pytorch.model.causal_lm import CausalLM
from litgpt.adapters.pytorch.runtime.hardware import free_device_memory
from litgpt.adapters.pytorch.runtime.system_memory import allocatable_memory

_UNBOUNDED = 2**40


def bytes_per_token(model: CausalLM) -> Counter[torch.device]:
    """Return the bytes of the keys and values of a token on each device; windows of layers are ignored."""
    layers = model.architecture.layers
    devices = model.layer_devices or [model.input_device] * len(layers)
    size = model.head_weight.element_size()
    nbytes: Counter[torch.device] = Counter()
    for layer, device in zip(layers, devices, strict=True):
        nbytes[device] += layer.mixer.cache_spec.numel_per_token * size
    return nbytes


def cache_capacity(model: CausalLM) -> int:
    """Return the tokens whose keys and values fit into half of the memory that is free on each device.

    Ranks on one CPU have equal parts of it.
    """
    capacities = [_UNBOUNDED]
    for device, nbytes in bytes_per_token(model).items():
        if device.type == "cuda":
            free: int | None = free_device_memory(device.index or 0)
        elif (free := allocatable_memory()) is not None:
            free //= model.ranks_on_host
        if free is not None and nbytes > 0:
            capacities.append(free // 2 // nbytes)
    return model.least_value(min(capacities))
