"""What the numbers were measured on, in words that name no particular machine."""

import os
import platform
import subprocess
import sys
from pathlib import Path

TELLING = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "bf16", "i8mm", "sve")
"""The instruction sets that decide how fast a matrix product is."""


def describe() -> str:
    """Return the processor, its telling instruction sets, cores, memory and system."""
    name, flags = _processor()
    cores = os.cpu_count()
    sets = f" with {', '.join(flags)}" if flags else ""
    system = f"{platform.system()} on {platform.machine()}; Python {platform.python_version()}"
    return f"{name}{sets}; {cores} cores; {_memory()}{system}"


def load() -> float | None:
    """Return how many processes wanted to compute in the last minute; None if nobody counts."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def has_bf16_products() -> bool:
    """Return whether the processor multiplies bfloat16 numbers."""
    return bool({"avx512_bf16", "amx_bf16", "bf16"} & set(_processor()[1]))


def _processor() -> tuple[str, list[str]]:
    information = Path("/proc/cpuinfo")
    if information.exists():
        pairs = (line.partition(":") for line in information.read_text(encoding="utf-8").splitlines())
        facts = {key.strip(): value.strip() for key, _, value in pairs}
        flags = (facts.get("flags") or facts.get("Features") or "").split()
        return facts.get("model name", platform.machine()), [flag for flag in TELLING if flag in flags]
    if sys.platform == "darwin":
        asked = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip(), []
    return platform.processor(), []


def _memory() -> str:
    try:
        bytes_ = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError):  # Windows has no sysconf
        return ""
    return f"{bytes_ / 2**30:.0f} GiB; "
