"""Assign consecutive layers to several devices (pipeline placement)."""

from bisect import bisect_left
from collections.abc import Sequence
from math import prod

from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.model import Architecture


def assign_layers(architecture: Architecture, num_devices: int) -> tuple[int, ...]:
    """Return the device index of each layer, minimizing the largest number of parameters on a device.

    Layers stay in order. The embedding is on the first device and the LM head on the last, or with the
    embedding if tied; both count towards the size.

    Raises:
        UnsupportedOperation: There are more devices than layers.
    """
    layers = len(architecture.layers)
    if num_devices > layers:
        raise UnsupportedOperation(
            f"generate_strategy='sequential' with {num_devices} devices",
            f"the model has only {layers} layers.",
        )
    sizes = [0] * layers
    for parameter in architecture.parameters():
        parts = parameter.name.split(".")
        if parts[:2] == ["transformer", "h"]:
            sizes[int(parts[2])] += prod(parameter.shape)
        else:
            sizes[-1 if is_output_parameter(parameter.name) else 0] += prod(parameter.shape)
    # The smallest bound for which the devices suffice, by bisection.
    bound = bisect_left(
        range(sum(sizes)), True, lo=max(sizes), key=lambda bound: _devices_needed(sizes, bound) <= num_devices
    )
    return _fill_devices(sizes, bound, num_devices)


def is_output_parameter(name: str) -> bool:
    """Return whether a parameter outside the layers is used after them."""
    return name.startswith(("lm_head.", "transformer.ln_f.", "transformer.merge."))


def _devices_needed(sizes: Sequence[int], bound: int) -> int:
    """Return the number of devices of size `bound` that hold the layers in order."""
    count, held = 1, 0
    for size in sizes:
        held += size
        if held > bound:
            count, held = count + 1, size
    return count


def _fill_devices(sizes: Sequence[int], bound: int, num_devices: int) -> tuple[int, ...]:
    """Return each layer's device, with at most `bound` on each and none empty."""
    assigned: list[int] = []
    device, held = 0, 0
    for at, size in enumerate(sizes):
        left = len(sizes) - at
        must_move = assigned and left <= num_devices - 1 - device
        if assigned and (held + size > bound or must_move):
            device, held = device + 1, 0
        assigned.append(device)
        held += size
    return tuple(assigned)
