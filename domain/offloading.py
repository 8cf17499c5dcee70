"""What of a model is on a device whose memory does not hold all of it."""

from bisect import bisect_right
from typing import Any

import attrs

from litgpt.domain.architecture import Architecture
from litgpt.domain.footprint import PROGRAM, activation_bytes, cache_bytes, weight_bytes
from litgpt.domain.placement import Hardware, Placement

TEXT = 4096
"""The tokens of a text whose cache is to fit as well, if the model's context is as long."""


def fitted(placement: Placement, architecture: Architecture, hardware: Hardware) -> Placement:
    """Return a placement that a device's memory allows: layers that do not fit stay with the CPU.

    A layer there is computed there: what moves is a token's vector, and not the layer's weights.

    Args:
        placement: What was decided.
        architecture: Of the model.
        hardware: Says what is free.

    """
    free = hardware.free.get(placement.device)
    if free is None or placement.strategy is not None:
        return placement
    tokens = min(architecture.context, TEXT)
    size = placement.cache_size
    if size is not None:
        tokens = architecture.context if size == "max" else size

    def needed(layers: int) -> int:
        part = attrs.evolve(architecture, layers=architecture.layers[:layers])
        weights = weight_bytes(part, dtype=placement.dtype, quantize=placement.quantize)
        working = activation_bytes(architecture, dtype=placement.dtype, tokens=tokens)
        return weights + working + cache_bytes(part, dtype=placement.dtype, tokens=tokens) + PROGRAM

    every = len(architecture.layers)
    if needed(every) <= free:
        return placement
    # What is needed grows with each layer, so halving finds the last count that fits.
    return attrs.evolve(placement, resident=max(0, bisect_right(range(every), free, key=needed) - 1))


def told(placement: Placement, architecture: Architecture) -> str | None:
    """Return what to tell of layers that stay with the CPU; None if there are none."""
    if placement.resident is None:
        return None
    away = architecture.layers[placement.resident :]
    how: Any = {"dtype": placement.dtype, "quantize": placement.quantize}
    outside = weight_bytes(attrs.evolve(architecture, layers=()), **how)
    nbytes = weight_bytes(attrs.evolve(architecture, layers=away), **how) - outside
    behind = f"{len(away)} of {len(architecture.layers)} layers"
    return (
        f"{behind} do not fit on {placement.device} and stay with the CPU, which reads {nbytes / 1e9:.1f} GB "
        "for each token, many times slower than the device would. A smaller precision, or several devices "
        "with generate_strategy='sequential', may hold all of it."
    )
