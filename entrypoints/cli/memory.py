"""How much memory this machine has, asked of the system."""

import os
import re
from pathlib import Path

from litgpt.domain.footprint import Memory


def memory_here() -> Memory | None:
    """Return this machine's memory; None where the system does not say."""
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():
        found = dict(re.findall(r"^(\w+):\s+(\d+) kB", meminfo.read_text(encoding="ascii"), re.MULTILINE))
        if "MemTotal" in found and "MemAvailable" in found:
            return Memory(
                device="this machine's memory",
                total=int(found["MemTotal"]) * 1024,
                free=int(found["MemAvailable"]) * 1024,
            )
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf, and others not every name
        return None
    return Memory(device="this machine's memory", total=total, free=total)
