"""What this machine has, as torch sees it."""

import os
import platform
from importlib.util import find_spec
from pathlib import Path

import torch

from litgpt.domain.placement import Accelerator, Hardware


def hardware() -> Hardware:
    """Return the devices that torch can use here, and which of them compute in bfloat16."""
    counts: dict[Accelerator, int] = {"cpu": 1}
    bfloat16: set[Accelerator] = set()
    if _cpu_computes_bfloat16():
        bfloat16.add("cpu")
    if torch.backends.mps.is_available():
        counts["mps"] = 1
        bfloat16.add("mps")
    if torch.cuda.is_available():
        counts["cuda"] = torch.cuda.device_count()
        if torch.cuda.is_bf16_supported(including_emulation=False):
            bfloat16.add("cuda")
    best: Accelerator = "cuda" if "cuda" in counts else "mps" if "mps" in counts else "cpu"
    free = {f"cuda:{number}": torch.cuda.mem_get_info(number)[0] for number in range(counts.get("cuda", 0))}
    return Hardware(
        accelerator=best,
        counts=counts,
        bfloat16=frozenset(bfloat16),
        rank=int(os.environ.get("RANK", "0")),
        ranks=int(os.environ.get("WORLD_SIZE", "1")),
        ranks_here=int(os.environ.get("LOCAL_WORLD_SIZE", "0")) or None,
        free=free,
        bitsandbytes=find_spec("bitsandbytes") is not None,
    )


def _cpu_computes_bfloat16() -> bool:
    """Return whether bfloat16 is no slower than float32 here: half the bytes are read for each weight.

    Without vector instructions for it, every product is a detour and float32 is the better default.
    """
    if platform.machine().lower() in ("x86_64", "amd64"):
        return bool(torch.cpu._is_avx512_supported())  # noqa: SLF001 - torch has no public question for it
    if platform.system() == "Linux":
        cpuinfo = Path("/proc/cpuinfo")
        return cpuinfo.exists() and " bf16" in cpuinfo.read_text(errors="replace")
    return platform.system() == "Darwin" and platform.machine() == "arm64"
