"""What this machine has, as torch sees it."""

import os
from importlib.util import find_spec

import torch

from litgpt.adapters.pytorch.processor import cpu_features
from litgpt.domain.arithmetic import computes
from litgpt.domain.placement import Accelerator, Hardware


def hardware() -> Hardware:
    """Return the devices that torch can use here, and which of them have instructions for bfloat16."""
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
    free = {f"cuda:{number}": torch.cuda.mem_get_info(number)[0] for number in range(counts.get("cuda", 0))}
    return Hardware(
        accelerator=best,
        counts=counts,
        bfloat16=frozenset(bfloat16),
        cpu_features=features,
        rank=int(os.environ.get("RANK", "0")),
        ranks=int(os.environ.get("WORLD_SIZE", "1")),
        ranks_here=int(os.environ.get("LOCAL_WORLD_SIZE", "0")) or None,
        free=free,
        bitsandbytes=find_spec("bitsandbytes") is not None,
    )
