"""What each of several devices holds of a model, counted before a weight is read."""

from collections.abc import Iterator
from typing import TypeAlias

import attrs

from litgpt.domain.architecture import Architecture
from litgpt.domain.footprint import Footprint, activation_bytes, cache_bytes
from litgpt.domain.parameters import parameters
from litgpt.domain.placement import Strategy
from litgpt.domain.quantization import Quantization, parameter_bytes
from litgpt.domain.sharding import share
from litgpt.domain.spreading import is_last, spread
from litgpt.domain.tensors import DType
from litgpt.domain.weights import Join


def on_each(
    architecture: Architecture,
    *,
    strategy: Strategy,
    devices: int,
    dtype: DType,
    tokens: int,
    quantize: Quantization | None = None,
) -> tuple[Footprint, ...]:
    """Return what each device needs for a text of `tokens` tokens.

    Args:
        architecture: The whole model.
        strategy: How it is spread over them.
        devices: How many there are.
        dtype: What weights and activations are in.
        tokens: Of prompt and answer together.
        quantize: How projections are quantised, if they are.

    Raises:
        OutOfReach: It cannot be spread so.

    """
    over = _ranks if strategy == "tensor_parallel" else _stages
    return tuple(
        Footprint(
            weights=weights,
            cache=cache_bytes(part, dtype=dtype, tokens=tokens),
            activations=activation_bytes(part, dtype=dtype, tokens=tokens),
        )
        for weights, part in over(architecture, devices, dtype, quantize)
    )


_Parts: TypeAlias = Iterator[tuple[int, Architecture]]
"""For each device, the bytes of its weights, and what it computes."""


def _ranks(architecture: Architecture, ranks: int, dtype: DType, quantize: Quantization | None) -> _Parts:
    whole = [Join(parameter, ()) for parameter in parameters(architecture)]  # from where makes no difference
    for rank in range(ranks):
        part = share(architecture, whole, ranks=ranks, rank=rank)
        yield part.weight_bytes(dtype=dtype, quantize=quantize), part.architecture


def _stages(architecture: Architecture, devices: int, dtype: DType, quantize: Quantization | None) -> _Parts:
    of_layer = spread(architecture, devices)
    weights = [0] * devices
    for parameter in parameters(architecture):
        parts = parameter.name.split(".")
        if parts[:2] == ["transformer", "h"]:
            device = of_layer[int(parts[2])]
        else:
            device = devices - 1 if is_last(parameter.name) and not architecture.tied else 0
        weights[device] += parameter_bytes(parameter, dtype, quantize)
    for device in range(devices):
        layers = [one for one, its in zip(architecture.layers, of_layer, strict=True) if its == device]
        yield weights[device], attrs.evolve(architecture, layers=tuple(layers))
