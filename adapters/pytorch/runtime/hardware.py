"""Detect the devices that torch can use."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from litgpt.adapters.pytorch.runtime.cpu_features import cpu_features
from litgpt.adapters.pytorch.runtime.system_memory import allocatable_memory, is_cpu_only_torch
from litgpt.domain.distribution.cpu_matmul import has_instructions
from litgpt.domain.distribution.placement import Accelerator, Hardware

if TYPE_CHECKING:
    from torch import nn

_GPU_FILES = ("nvidiactl", "nvidia0", "nvhost-gpu", "nvmap", "dxg", "kfd")
"""The files in /dev of the drivers of NVIDIA (also Tegra and WSL) and AMD."""


def detect_hardware(released_model: "nn.Module | None" = None) -> Hardware:
    """Return the devices that torch can use, their features and free memory.

    The memory of `released_model`, which is about to be released, counts as free.
    """
    counts: dict[Accelerator, int] = {"cpu": 1}
    bfloat16: set[Accelerator] = set()
    features = cpu_features()
    if has_instructions("bfloat16", features):
        bfloat16.add("cpu")
    if "torch" in sys.modules or may_have_gpu():
        import torch

        if torch.backends.mps.is_available():
            counts["mps"] = 1
            bfloat16.add("mps")
        if torch.cuda.is_available():
            counts["cuda"] = torch.cuda.device_count()
            if torch.cuda.is_bf16_supported(including_emulation=False):
                bfloat16.add("cuda")
    best: Accelerator = "cuda" if "cuda" in counts else "mps" if "mps" in counts else "cpu"
    free = {f"cuda:{number}": free_device_memory(number) for number in range(counts.get("cuda", 0))}
    memory = allocatable_memory()
    for tensor in () if released_model is None else (*released_model.parameters(), *released_model.buffers()):
        if (device := str(tensor.device)) in free:
            free[device] += tensor.nbytes
        elif memory is not None and tensor.device.type != "cuda":
            memory += tensor.nbytes
    return Hardware(
        accelerator=best,
        device_counts=counts,
        bfloat16_accelerators=frozenset(bfloat16),
        cpu_features=features,
        rank=int(os.environ.get("RANK", "0")),
        world_size=int(os.environ.get("WORLD_SIZE", "1")),
        local_world_size=int(os.environ.get("LOCAL_WORLD_SIZE", "0")) or None,
        free_device_memory=free,
        available_host_memory=memory,
        has_bitsandbytes=find_spec("bitsandbytes") is not None,
    )


def may_have_gpu(devices: Path = Path("/dev")) -> bool:
    """Return whether torch, whose import takes seconds, must be asked for GPUs."""
    if sys.platform == "linux" and not any((devices / name).exists() for name in _GPU_FILES):
        return False
    return not is_cpu_only_torch()


def free_device_memory(index: int) -> int:
    """Return the bytes that torch can allocate on a CUDA device, including its unused reserved memory."""
    import torch

    unused = torch.cuda.memory_reserved(index) - torch.cuda.memory_allocated(index)
    return torch.cuda.mem_get_info(index)[0] + unused
