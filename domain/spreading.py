"""Which device has which layer, where layers are spread over several, one after another."""

from bisect import bisect_left
from collections.abc import Sequence
from math import prod

from litgpt.domain.architecture import Architecture
from litgpt.domain.errors import OutOfReach
from litgpt.domain.parameters import parameters


def spread(architecture: Architecture, devices: int) -> tuple[int, ...]:
    """Return each layer's device, from 0, so that the fullest device has as little as can be.

    Layers stay in order. The embedding is with the first layer and the head with the last, or with the
    embedding if it is that; they count as the layers do.

    Raises:
        OutOfReach: There are more devices than layers.

    """
    layers = len(architecture.layers)
    if devices > layers:
        raise OutOfReach(
            f"generate_strategy='sequential' with {devices} devices", f"the model has only {layers} layers."
        )
    sizes = [0] * layers
    for parameter in parameters(architecture):
        parts = parameter.name.split(".")
        if parts[:2] == ["transformer", "h"]:
            sizes[int(parts[2])] += prod(parameter.shape)
        else:
            sizes[-1 if is_last(parameter.name) else 0] += prod(parameter.shape)
    # The least bound for which so many devices suffice: every sum of neighbours is a candidate.
    most = bisect_left(
        range(sum(sizes)), True, lo=max(sizes), key=lambda bound: _needed(sizes, bound) <= devices
    )
    return _dealt_out(sizes, most, devices)


def is_last(name: str) -> bool:
    """Whether a tensor outside the layers is used after them."""
    return name.startswith(("lm_head.", "transformer.ln_f.", "transformer.merge."))


def _needed(sizes: Sequence[int], bound: int) -> int:
    """Return how many devices of a size hold the layers, in order."""
    count, held = 1, 0
    for size in sizes:
        held += size
        if held > bound:
            count, held = count + 1, size
    return count


def _dealt_out(sizes: Sequence[int], bound: int, devices: int) -> tuple[int, ...]:
    """Return each layer's device, with no more than `bound` on any and none left empty."""
    found: list[int] = []
    device, held = 0, 0
    for at, size in enumerate(sizes):
        left = len(sizes) - at
        must_move = found and left <= devices - 1 - device
        if found and (held + size > bound or must_move):
            device, held = device + 1, 0
        found.append(device)
        held += size
    return tuple(found)
