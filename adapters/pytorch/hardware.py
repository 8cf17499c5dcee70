"""What this machine has, as torch sees it."""

import os
from importlib.util import find_spec

import torch
from torch import nn

from litgpt.adapters.pytorch.memory import allocatable
from litgpt.adapters.pytorch.processor import cpu_features
from litgpt.domain.arithmetic import computes
from litgpt.domain.placement import Accelerator, Hardware


def hardware(replaced: nn.Module | None = None) -> Hardware:
    """Return the devices that torch can use here, and what they have.

    Args:
        replaced: A model that is about to be released: its memory counts as free.

    """
    counts: dict[Accelerator, int] = {"cpu": 1}
    bfloat16: set[Accelerator] = set()
    features = cpu_features()
    if computes("bfloat16", features):
        bfloat16.add("cpu")
    if torch.backends.mps.is_available():
        counts["mps"] = 1
        bfloat16.add("mps")
    if torch.cuda.is_available():
        counts["cuda"] = torch.cuda.device_count()
        if torch.cuda.is_bf16_supported(including_emulation=False):
            bfloat16.add("cuda")
    best: Accelerator = "cuda" if "cuda" in counts else "mps" if "mps" in counts else "cpu"
    free = {f"cuda:{number}": _free(number) for number in range(counts.get("cuda", 0))}
    memory = allocatable()
    for tensor in () if replaced is None else (*replaced.parameters(), *replaced.buffers()):
        if (device := str(tensor.device)) in free:
            free[device] += tensor.nbytes
        elif memory is not None and tensor.device.type != "cuda":
            memory += tensor.nbytes
    return Hardware(
        accelerator=best,
        counts=counts,
        bfloat16=frozenset(bfloat16),
        cpu_features=features,
        rank=int(os.environ.get("RANK", "0")),
        ranks=int(os.environ.get("WORLD_SIZE", "1")),
        ranks_here=int(os.environ.get("LOCAL_WORLD_SIZE", "0")) or None,
        free=free,
        memory=memory,
        bitsandbytes=find_spec("bitsandbytes") is not None,
    )


def _free(number: int) -> int:
    """Return the bytes that torch can still allocate on a CUDA device: some it holds without using them."""
    kept = torch.cuda.memory_reserved(number) - torch.cuda.memory_allocated(number)
    return torch.cuda.mem_get_info(number)[0] + kept
