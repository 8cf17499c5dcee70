"""Check whether a model or a training run fits into memory, before anything is allocated.

The estimates are lower bounds, so that nothing that could run is rejected.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from litgpt.domain.distribution.placement import Hardware, Placement
from litgpt.domain.errors import InsufficientSpace
from litgpt.domain.memory.estimate import kv_cache_bytes, weight_bytes
from litgpt.domain.model import Architecture
from litgpt.domain.quantization import is_quantized, parameter_bytes
from litgpt.domain.weights.mapping import ParameterSource
from litgpt.domain.weights.tensor_info import STORAGE_FORMATS, TensorInfo

if TYPE_CHECKING:
    from litgpt.domain.memory.training_estimate import TrainingFootprint


def check_memory(
    name: str,
    placement: Placement,
    architecture: Architecture,
    sources: tuple[ParameterSource, ...],
    tensors: Mapping[str, TensorInfo],
    hardware: Hardware,
) -> None:
    """Raise InsufficientSpace if a model and its fixed KV cache do not fit into free memory."""
    cache = 0
    if placement.kv_cache_size is not None and placement.engine != "native":  # native caches grow
        longest = architecture.context_length
        tokens = longest if placement.kv_cache_size == "max" else min(placement.kv_cache_size, longest)
        cache = kv_cache_bytes(architecture, dtype=placement.dtype, tokens=tokens)
    if placement.device.startswith("cuda"):
        if placement.local_rank is not None or any(
            device not in hardware.free_device_memory for device in placement.devices
        ):
            return
        available: int | None = sum(map(hardware.free_device_memory.__getitem__, set(placement.devices)))
        on_gpu = attrs.evolve(architecture, layers=architecture.layers[: placement.num_gpu_layers])
        weights = weight_bytes(on_gpu, dtype=placement.dtype, quantize=placement.quantize)
        if placement.num_gpu_layers is not None:  # then only a part of the cache is on the GPU
            cache = 0
    else:
        available, weights = hardware.available_host_memory, allocated_bytes(placement, sources, tensors)
    requested = f"{name} on {', '.join(placement.devices)}"
    check_bytes(requested, weights, available, "Use a smaller model or precision, or quantize=.")
    with_cache = f"fixed_kv_cache_size={placement.kv_cache_size!r} with {name}"
    check_bytes(with_cache, weights + cache, available, "Pass a smaller number of tokens, or None.")


def check_bytes(requested: str, needed: int, available: int | None, remedy: str) -> None:
    """Raise InsufficientSpace, with the remedy, if an operation needs more memory than is available.

    `needed` is a lower bound, `available` an upper bound in bytes; None: unknown.
    """
    if available is not None and needed > available:
        figures = f"it needs {gigabytes(needed)} of memory and {gigabytes(available)} are available."
        raise InsufficientSpace(requested, f"{figures} {remedy}")


def gigabytes(nbytes: int) -> str:
    """Format a number of bytes for a message."""
    return f"{min(nbytes, 10**30) / 1e9:,.1f} GB"


def check_training(
    requested: str,
    needs: "TrainingFootprint",
    *,
    weights: int,
    device: str,
    devices: int,
    hardware: Hardware,
    remedy: str,
) -> None:
    """Raise InsufficientSpace if training, with gradients and optimizer states, does not fit into memory.

    `TrainingFootprint.program` is not counted, as this process has allocated it already. `weights` are the
    allocated bytes on each of the devices; memory-mapped weights count only if they are trained.
    """
    needed = weights + needs.learning + needs.activations
    if device == "cuda":
        available = min(
            [hardware.free_device_memory.get(f"cuda:{i}", needed) for i in range(devices)], default=None
        )
    else:  # the ranks share the machine's memory
        needed, available = needed * devices, hardware.available_host_memory
    parts = (
        f"Weights take {gigabytes(weights)}, gradients and optimizer states {gigabytes(needs.learning)}, "
        f"activations {gigabytes(needs.activations)}{' on each device' if devices > 1 else ''}."
    )
    check_bytes(requested, needed, available, f"{parts} {remedy}")


def allocated_bytes(
    placement: Placement, sources: tuple[ParameterSource, ...], tensors: Mapping[str, TensorInfo]
) -> int:
    """Return the peak memory of loading the weights in bytes, without memory-mapped pages of files."""
    total = largest = 0
    for source in sources:
        parameter, dtype = source.parameter, placement.dtype
        infos = [tensors[name] for name in source.hf_names if name in tensors]
        quantized = placement.quantize is not None and is_quantized(parameter)
        in_files = all(info.storage_format == STORAGE_FORMATS[dtype] and info.nbytes for info in infos)
        is_copied = quantized or not in_files or placement.engine == "native"  # which rearranges all weights
        nbytes = parameter_bytes(parameter, dtype, placement.quantize)
        if is_copied:
            stored = sum(info.nbytes for info in infos)
            total += min(nbytes, stored) if placement.keeps_quantization and stored else nbytes
        if any(info.nbytes == 0 for info in infos):  # random weights are drawn in float32, then converted
            largest = max(largest, sum(4 * info.numel for info in infos[:1]))
    return max(total, largest)
