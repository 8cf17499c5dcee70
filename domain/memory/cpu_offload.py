"""CPU offloading of layers that do not fit in the device's memory."""

from bisect import bisect_right
from typing import Any

import attrs

from litgpt.domain.distribution.placement import Hardware, Placement
from litgpt.domain.memory.estimate import RUNTIME_BYTES, activation_bytes, kv_cache_bytes, weight_bytes
from litgpt.domain.model import Architecture

MIN_CONTEXT = 4096
"""Tokens of KV cache to reserve, limited by the model's context length."""


def with_cpu_offload(placement: Placement, architecture: Architecture, hardware: Hardware) -> Placement:
    """Return the placement with layers that do not fit in the device's free memory moved to the CPU.

    Offloaded layers are computed on the CPU, so hidden states are transferred instead of weights.
    """
    free = hardware.free_device_memory.get(placement.device)
    if free is None or placement.strategy is not None or placement.engine == "transformers":
        return placement
    tokens = min(architecture.context_length, MIN_CONTEXT)
    size = placement.kv_cache_size
    if size is not None:
        tokens = architecture.context_length if size == "max" else size

    def needed(layers: int) -> int:
        part = attrs.evolve(architecture, layers=architecture.layers[:layers])
        weights = weight_bytes(part, dtype=placement.dtype, quantize=placement.quantize)
        working = activation_bytes(architecture, dtype=placement.dtype, tokens=tokens)
        return weights + working + kv_cache_bytes(part, dtype=placement.dtype, tokens=tokens) + RUNTIME_BYTES

    every = len(architecture.layers)
    if needed(every) <= free:
        return placement
    # The required memory increases with each layer, so bisection applies.
    return attrs.evolve(placement, num_gpu_layers=max(0, bisect_right(range(every), free, key=needed) - 1))


def offload_notice(placement: Placement, architecture: Architecture) -> str | None:
    """Return a notice about layers on the CPU, or None if there are none."""
    if placement.num_gpu_layers is None:
        return None
    offloaded = architecture.layers[placement.num_gpu_layers :]
    precision: Any = {"dtype": placement.dtype, "quantize": placement.quantize}
    outside = weight_bytes(attrs.evolve(architecture, layers=()), **precision)
    nbytes = weight_bytes(attrs.evolve(architecture, layers=offloaded), **precision) - outside
    count = f"{len(offloaded)} of {len(architecture.layers)} layers"
    return (
        f"{count} do not fit on {placement.device} and run on the CPU, which reads {nbytes / 1e9:.1f} GB for "
        "each token and is many times slower. A lower precision, quantization, or several devices with "
        "generate_strategy='sequential' may avoid this."
    )
