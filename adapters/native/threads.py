"""The number of threads that compute."""

import math
import os
from pathlib import Path

from litgpt.application.files.control_groups import control_groups, read_text

VARIABLES = ("LITGPT_NUM_THREADS", "OMP_NUM_THREADS")
MOST_THREADS = 256


def thread_count(root: Path = Path("/")) -> int:
    """Return the number of threads: `LITGPT_NUM_THREADS`, else `OMP_NUM_THREADS`, else the physical cores.

    Only cores on which this process may run are counted, and no more than the quota of its control group.
    `root` contains `/proc` and `/sys`.
    """
    for name in VARIABLES:
        # OMP_NUM_THREADS may be a list, with a number for each level of nested parallelism.
        first = os.environ.get(name, "").split(",")[0].strip()
        if first.isdecimal() and int(first) > 0:
            return min(int(first), MOST_THREADS)
    return max(1, int(min(_physical_cores(root), _cpu_quota(root), MOST_THREADS)))


def _physical_cores(root: Path) -> int:
    """Count the cores on which this process may run; two hardware threads of a core would only share it."""
    if not hasattr(os, "sched_getaffinity"):
        import psutil

        return psutil.cpu_count(logical=False) or os.cpu_count() or 1
    processors = os.sched_getaffinity(0)
    siblings = root / "sys/devices/system/cpu"
    cores = {
        read_text(siblings / f"cpu{number}/topology/thread_siblings_list").strip() or number
        for number in processors
    }
    return len(cores)


def _cpu_quota(root: Path) -> float:
    """Return the number of cores that the control groups grant, rounded up; infinity if it is not limited."""
    quotas = [math.inf]
    for version, group in control_groups("cpu", root):
        files = ("cpu.max",) if version == 2 else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        quotas.append(_ratio(" ".join(read_text(group / name) for name in files).split()))
    return min(quotas)


def _ratio(quota: list[str]) -> float:
    """Return quota / period in whole cores; infinity for `max` or -1."""
    if len(quota) == 2 and all(number.isdecimal() and int(number) > 0 for number in quota):
        return math.ceil(int(quota[0]) / int(quota[1]))
    return math.inf
