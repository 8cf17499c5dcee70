"""Estimate the memory of each device of a distributed model, before weights are read."""

from collections.abc import Iterator
from typing import TypeAlias

import attrs

from litgpt.domain.distribution.placement import Strategy
from litgpt.domain.memory.estimate import MemoryEstimate, activation_bytes, kv_cache_bytes
from litgpt.domain.model import Architecture
from litgpt.domain.parallel.layer_split import assign_layers, is_output_parameter
from litgpt.domain.parallel.tensor_parallel import shard_model
from litgpt.domain.quantization import Quantization, parameter_bytes
from litgpt.domain.weights.mapping import ParameterSource
from litgpt.domain.weights.tensor_info import DType


def memory_per_device(
    architecture: Architecture,
    *,
    strategy: Strategy,
    num_devices: int,
    dtype: DType,
    tokens: int,
    quantize: Quantization | None = None,
) -> tuple[MemoryEstimate, ...]:
    """Return the memory of each device for a sequence of `tokens` tokens, prompt and answer together.

    Raises:
        UnsupportedOperation: The model cannot be distributed over this number of devices.
    """
    shares = _ranks if strategy == "tensor_parallel" else _layer_split
    return tuple(
        MemoryEstimate(
            weights=weights,
            kv_cache=kv_cache_bytes(part, dtype=dtype, tokens=tokens),
            activations=activation_bytes(part, dtype=dtype, tokens=tokens),
        )
        for weights, part in shares(architecture, num_devices, dtype, quantize)
    )


_DeviceShares: TypeAlias = Iterator[tuple[int, Architecture]]
"""For each device, the bytes of its weights and its part of the architecture."""


def _ranks(
    architecture: Architecture, world_size: int, dtype: DType, quantize: Quantization | None
) -> _DeviceShares:
    whole = [ParameterSource(parameter, ()) for parameter in architecture.parameters()]
    for rank in range(world_size):
        part = shard_model(architecture, whole, world_size=world_size, rank=rank)
        yield part.weight_bytes(dtype=dtype, quantize=quantize), part.architecture


def _layer_split(
    architecture: Architecture, num_devices: int, dtype: DType, quantize: Quantization | None
) -> _DeviceShares:
    layer_devices = assign_layers(architecture, num_devices)
    weights = [0] * num_devices
    for parameter in architecture.parameters():
        parts = parameter.name.split(".")
        if parts[:2] == ["transformer", "h"]:
            device = layer_devices[int(parts[2])]
        else:
            device = (
                num_devices - 1
                if is_output_parameter(parameter.name) and not architecture.tie_word_embeddings
                else 0
            )
        weights[device] += parameter_bytes(parameter, dtype, quantize)
    for device in range(num_devices):
        layers = [x for x, at in zip(architecture.layers, layer_devices, strict=True) if at == device]
        yield weights[device], attrs.evolve(architecture, layers=tuple(layers))
