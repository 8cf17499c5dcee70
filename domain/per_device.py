"""What each of several devices holds of a model, counted before a weight is read."""

import attrs

from litgpt.domain.architecture import Architecture
from litgpt.domain.footprint import Footprint, activation_bytes, cache_bytes
from litgpt.domain.parameters import Parameter, parameters
from litgpt.domain.placement import Strategy
from litgpt.domain.quantization import Quantization, parameter_bytes
from litgpt.domain.sharding import share
from litgpt.domain.spreading import is_last, spread
from litgpt.domain.tensors import DType
from litgpt.domain.weights import Join


@attrs.frozen
class _Part:
    """What a device has: its tensors, and what it computes."""

    tensors: tuple[Parameter, ...]
    computes: Architecture


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
    parts = _ranks(architecture, devices) if strategy == "tensor_parallel" else _stages(architecture, devices)
    return tuple(
        Footprint(
            weights=sum(parameter_bytes(one, dtype, quantize) for one in part.tensors),
            cache=cache_bytes(part.computes, dtype=dtype, tokens=tokens),
            activations=activation_bytes(part.computes, dtype=dtype, tokens=tokens),
        )
        for part in parts
    )


def _ranks(architecture: Architecture, ranks: int) -> list[_Part]:
    whole = [Join(parameter, ()) for parameter in parameters(architecture)]  # from where makes no difference
    shares = [share(architecture, whole, ranks=ranks, rank=rank) for rank in range(ranks)]
    return [_Part(tuple(join.parameter for join in one.joins), one.architecture) for one in shares]


def _stages(architecture: Architecture, devices: int) -> list[_Part]:
    of_layer = spread(architecture, devices)
    dealt: list[list[Parameter]] = [[] for _ in range(devices)]
    for parameter in parameters(architecture):
        parts = parameter.name.split(".")
        if parts[:2] == ["transformer", "h"]:
            device = of_layer[int(parts[2])]
        else:
            device = devices - 1 if is_last(parameter.name) and not architecture.tied else 0
        dealt[device].append(parameter)
    layers = [
        tuple(layer for layer, its in zip(architecture.layers, of_layer, strict=True) if its == device)
        for device in range(devices)
    ]
    return [
        _Part(tuple(tensors), attrs.evolve(architecture, layers=its))
        for tensors, its in zip(dealt, layers, strict=True)
    ]
