"""Whether a machine's memory can hold what is asked for, known before any of it is allocated.

The bounds are lower than what is really needed: only what surely cannot run is refused.
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.distribution.placement import Hardware, Placement
from litgpt.domain.errors import InsufficientSpace
from litgpt.domain.memory.estimate import kv_cache_bytes, weight_bytes
from litgpt.domain.memory.training_estimate import TrainingFootprint
from litgpt.domain.model import Architecture
from litgpt.domain.quantization import is_quantized, parameter_bytes
from litgpt.domain.weights.mapping import ParameterSource
from litgpt.domain.weights.tensor_info import DType, TensorInfo

_STORAGE_FORMATS: Mapping[DType, str] = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}


def check_memory(
    name: str,
    placement: Placement,
    architecture: Architecture,
    sources: tuple[ParameterSource, ...],
    tensors: Mapping[str, TensorInfo],
    hardware: Hardware,
) -> None:
    """Raise if a model, with the KV cache that was asked for, cannot be where it is to be placed.

    Args:
        name: The model.
        placement: Where it is to be.
        architecture: Its structure.
        sources: Which tensors each parameter is read from.
        tensors: Every tensor of its checkpoint.
        hardware: Says how much memory there is.

    Raises:
        OutOfReach: There is less. The message has both figures.

    """
    cache = 0
    if placement.kv_cache_size is not None:
        longest = architecture.context_length
        tokens = longest if placement.kv_cache_size == "max" else min(placement.kv_cache_size, longest)
        cache = kv_cache_bytes(architecture, dtype=placement.dtype, tokens=tokens)
    if placement.device.startswith("cuda"):
        if placement.local_rank is not None or any(
            one not in hardware.free_device_memory for one in placement.devices
        ):
            return
        available: int | None = sum(hardware.free_device_memory[one] for one in set(placement.devices))
        here = attrs.evolve(architecture, layers=architecture.layers[: placement.num_gpu_layers])
        weights = weight_bytes(here, dtype=placement.dtype, quantize=placement.quantize)
        if placement.num_gpu_layers is not None:  # the cache is where the layers are
            cache = 0
    else:
        available, weights = hardware.available_host_memory, allocated_bytes(placement, sources, tensors)
    asked = f"{name} on {', '.join(placement.devices)}"
    check_bytes(asked, weights, available, "Use a smaller model or precision, or quantize=.")
    sized = f"fixed_kv_cache_size={placement.kv_cache_size!r} with {name}"
    check_bytes(sized, weights + cache, available, "Pass a smaller number of tokens, or None.")


def check_bytes(requested: str, needed: int, available: int | None, remedy: str) -> None:
    """Raise if something needs more memory than there is.

    Args:
        requested: What needs it.
        needed: The bytes that it needs, at least.
        available: Those that there are, at most; None: not known.
        remedy: What to do instead, as a sentence.

    Raises:
        OutOfReach: There are fewer.

    """
    if available is not None and needed > available:
        figures = f"it needs {gigabytes(needed)} of memory and {gigabytes(available)} are available."
        raise InsufficientSpace(requested, f"{figures} {remedy}")


def gigabytes(nbytes: int) -> str:
    """Return a number of bytes for a message."""
    return f"{min(nbytes, 10**30) / 1e9:,.1f} GB"


def check_training(
    asked: str,
    needs: TrainingFootprint,
    *,
    weights: int,
    device: str,
    devices: int,
    hardware: Hardware,
    remedy: str,
) -> None:
    """Raise if training, with its gradients and optimizer states, does not fit into the memory.

    What is there without a model (`TrainingMemoryEstimate.program`) does not count: it is allocated already.

    Args:
        asked: What is to be trained.
        needs: What it takes on each device.
        weights: The bytes of that device's weights that are allocated; mapped pages of files are not, unless
            they are trained.
        device: The kind of device, such as `cpu`.
        devices: How many there are on this machine.
        hardware: Says how much memory there is.
        remedy: What to do instead, as a sentence.

    Raises:
        OutOfReach: There is less. The message has both figures.

    """
    needed = weights + needs.learning + needs.activations
    if device == "cuda":
        available = min(
            [hardware.free_device_memory.get(f"cuda:{one}", needed) for one in range(devices)], default=None
        )
    else:  # its processes share the machine's memory
        needed, available = needed * devices, hardware.available_host_memory
    parts = (
        f"Weights take {gigabytes(weights)}, gradients and optimizer states {gigabytes(needs.learning)}, "
        f"activations {gigabytes(needs.activations)}{' on each device' if devices > 1 else ''}."
    )
    check_bytes(asked, needed, available, f"{parts} {remedy}")


def allocated_bytes(
    placement: Placement, joins: tuple[ParameterSource, ...], tensors: Mapping[str, TensorInfo]
) -> int:
    """Return the bytes that weights take besides the pages of their files, while the last of them is read."""
    total = largest = 0
    for join in joins:
        parameter, dtype = join.parameter, placement.dtype
        found = [tensors[name] for name in join.hf_names if name in tensors]
        quantized = placement.quantize is not None and is_quantized(parameter)
        in_files = all(one.storage_format == _STORAGE_FORMATS[dtype] and one.nbytes for one in found)
        if quantized or not in_files:
            total += parameter_bytes(parameter, dtype, placement.quantize)
        if any(one.nbytes == 0 for one in found):  # drawn in float32 before it is converted
            largest = max(largest, sum(4 * one.numel for one in found[:1]))
    return max(total, largest)
