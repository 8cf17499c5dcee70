"""The memory of this machine, determined without torch, whose import takes seconds."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from litgpt.application.files.control_groups import control_groups, read_text
from litgpt.domain.memory.estimate import DeviceMemory

COMMAND_TIMEOUT = 5
"""Timeout of external programs, in seconds."""

MEMORY_LIMIT = "LITGPT_MEMORY_LIMIT"
"""The variable with the bytes of main memory that a process may use besides mapped files. Processes that
share a machine get a part each: together, they would otherwise plan with several times the free memory."""


def device_memory() -> list[DeviceMemory]:
    """Return the memory of each GPU that torch can use, then the host memory, as far as they are known."""
    machine = machine_memory()
    return [*_nvidia_devices(), *([] if machine is None else [machine])]


def machine_memory(root: Path = Path("/")) -> DeviceMemory | None:
    """Return the host memory, bounded by the limits of this process's control groups.

    The limits of the process's group and of its parents apply, in cgroup versions 1 and 2. `root` contains
    `/proc` and `/sys`.
    """
    known = _meminfo(root) or _psutil_memory()
    if known is None:
        return None
    total, free = known
    for limit, used, cached in _control_groups(root):
        bound = _read_number(limit)
        if bound is None or bound >= total:
            continue
        # The page cache counts as used, but is reclaimed when memory is needed.
        in_use = (_read_number(used) or 0) - _read_numbers(limit.with_name("memory.stat")).get(cached, 0)
        # The limit of a group may exceed that of its parent.
        total, free = min(total, bound), min(free, max(0, bound - in_use))
    return DeviceMemory(device="memory", total=total, free=free)


def _meminfo(root: Path) -> tuple[int, int] | None:
    """Return the total and the available bytes of Linux; psutil, whose import takes long, reads the same."""
    numbers = _read_numbers(root / "proc/meminfo")
    total, available = numbers.get("MemTotal"), numbers.get("MemAvailable")
    if total is None or available is None or available > total:  # old kernels, and some containers
        return None
    return total * 1024, available * 1024


def _psutil_memory() -> tuple[int, int] | None:
    import psutil

    try:
        memory = psutil.virtual_memory()
    except OSError:  # without /proc
        return None
    return int(memory.total), int(memory.available)


def _control_groups(root: Path) -> Iterator[tuple[Path, Path, str]]:
    """Yield the limit file, the usage file and the page-cache field of each control group of the process."""
    for cgroup_version, group in control_groups("memory", root):
        if cgroup_version == 2:
            yield group / "memory.max", group / "memory.current", "inactive_file"
        else:
            yield group / "memory.limit_in_bytes", group / "memory.usage_in_bytes", "total_inactive_file"


def allocatable_memory(root: Path = Path("/")) -> int | None:
    """Return an upper bound of the bytes that this process can allocate on the host; None if unknown.

    The bound includes swap space and the page cache, which can be reclaimed. A limit of the process's address
    space (RLIMIT_AS) and the variable `LITGPT_MEMORY_LIMIT` apply as well. `root` contains `/proc` and
    `/sys`.
    """
    bounds = [_address_space(root), _remaining_share(root)]
    if (memory := machine_memory(root)) is not None:
        if sys.platform == "linux":
            bounds.append(memory.free + _read_numbers(root / "proc/meminfo").get("SwapFree", 0) * 1024)
        else:  # memory is compressed and swapped on demand: the free memory is not a bound
            bounds.append(memory.total)
    known = [bound for bound in bounds if bound is not None]
    return min(known) if known else None


def _remaining_share(root: Path) -> int | None:
    """Return the bytes of `LITGPT_MEMORY_LIMIT` that the process has not allocated; None if it is not set."""
    limit = os.environ.get(MEMORY_LIMIT, "").strip()
    if not limit.isdecimal():
        return None
    allocated = _read_numbers(root / "proc/self/status").get("RssAnon", 0) * 1024  # 0: not Linux
    return max(0, int(limit) - allocated)


def _address_space(root: Path) -> int | None:
    """Return the remaining address space of the process in bytes; None if it is not limited."""
    if sys.platform != "linux":
        return None
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    pages = (root / "proc/self/statm").read_text(encoding="ascii").split()[0]
    return max(0, limit - int(pages) * resource.getpagesize())


def nvidia_memory(output: str) -> Iterator[DeviceMemory]:
    """Parse the output of `nvidia-smi --format=csv,noheader,nounits`: name, total MiB, free MiB."""
    for line in output.splitlines():
        name, *figures = (part.strip() for part in line.rsplit(",", 2))
        if len(figures) == 2 and all(figure.isdecimal() for figure in figures):
            total, free = (int(figure) * 2**20 for figure in figures)
            yield DeviceMemory(device=name, total=total, free=free)


def _nvidia_devices() -> Iterator[DeviceMemory]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible in ("", "-1") or is_cpu_only_torch():
        return
    selection = ("-i", visible) if visible else ()
    fields = "--query-gpu=name,memory.total,memory.free"
    yield from nvidia_memory(
        _command_output("nvidia-smi", *selection, fields, "--format=csv,noheader,nounits")
    )


def is_cpu_only_torch() -> bool:
    """Return whether torch was built without GPU support."""
    from importlib.metadata import PackageNotFoundError, version  # takes 10 ms

    try:
        return version("torch").endswith("+cpu")
    except PackageNotFoundError:
        return False


def _command_output(*command: str) -> str:
    """Return the output of a program; an empty string if it is not installed or fails."""
    try:
        run = subprocess.run(  # noqa: S603 - callers pass constants
            command, capture_output=True, text=True, errors="replace", timeout=COMMAND_TIMEOUT, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return run.stdout


def _read_numbers(path: Path) -> dict[str, int]:
    """Parse a file of lines `name: number unit`."""
    lines = re.findall(r"^(\w+):?\s+(\d+)", read_text(path), re.MULTILINE)
    return {name: int(number) for name, number in lines}


def _read_number(path: Path) -> int | None:
    text = read_text(path).strip()
    return int(text) if text.isdecimal() else None
