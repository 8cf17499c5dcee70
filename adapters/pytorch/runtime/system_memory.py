"""The memory of this machine, asked of the system: torch would know, and takes seconds to import."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath

from litgpt.domain.memory.estimate import DeviceMemory

COMMAND_TIMEOUT = 5
"""Seconds until a program that was asked for figures is taken for one that does not answer."""


def device_memory() -> list[DeviceMemory]:
    """Return the memory of each GPU that torch could use, then that of the machine; those that are known."""
    machine = machine_memory()
    return [*_nvidia_devices(), *([] if machine is None else [machine])]


def machine_memory(root: Path = Path("/")) -> DeviceMemory | None:
    """Return what the system reports, or less if a control group of this process is limited to less.

    The limits of the process's own group and of each of its parents hold, in either version of control groups
    (https://docs.kernel.org/admin-guide/cgroup-v2.html).

    Args:
        root: Where the `/proc` and `/sys` of control groups are.

    """
    import psutil

    try:
        memory = psutil.virtual_memory()
    except OSError:  # without /proc
        return None
    total, free = int(memory.total), int(memory.available)
    for limit, used, cached in _control_groups(root):
        bound = _read_number(limit)
        if bound is None or bound >= total:
            continue
        # Pages of files count as used, and are given up when memory is needed.
        held = (_read_number(used) or 0) - _read_numbers(limit.with_name("memory.stat")).get(cached, 0)
        # A group may be allowed more than its parent is.
        total, free = min(total, bound), min(free, max(0, bound - held))
    return DeviceMemory(device="memory", total=total, free=free)


def _control_groups(root: Path) -> Iterator[tuple[Path, Path, str]]:
    """Yield the files of limit and usage of each group of the process, and the name of its file pages.

    `/proc/self/cgroup` has a line `0::/path` for version 2, and `4:memory:/path` for version 1. Both may be
    mounted. In a container whose own group is mounted at the top, the path need not exist below it.
    """
    mounts = root / "sys/fs/cgroup"
    paths: dict[str, PurePosixPath] = {"": PurePosixPath("/"), "memory": PurePosixPath("/")}
    for line in _text(root / "proc/self/cgroup").splitlines():
        number, controllers, path = (*line.split(":", 2), "", "")[:3]
        if number == "0" and not controllers:
            paths[""] = PurePosixPath("/", path)
        elif "memory" in controllers.split(","):
            paths["memory"] = PurePosixPath("/", path)
    for mount in (mounts, mounts / "unified"):
        for group in _with_parents(mount, paths[""]):
            yield group / "memory.max", group / "memory.current", "inactive_file"
    for group in _with_parents(mounts / "memory", paths["memory"]):
        yield group / "memory.limit_in_bytes", group / "memory.usage_in_bytes", "total_inactive_file"


def _with_parents(mount: Path, path: PurePosixPath) -> Iterator[Path]:
    """Yield the folders of a group and of its parents; of a path outside the namespace (`..`), the top."""
    if ".." not in path.parts:
        for group in (path, *path.parents):
            yield mount / group.relative_to("/")
    else:
        yield mount


def allocatable_memory(root: Path = Path("/")) -> int | None:
    """Return the bytes that this process can still allocate in the machine's memory; None if nothing says so.

    It is an upper bound: pages of files are given up when memory is needed, and swap space counts. A limit of
    the process itself (RLIMIT_AS) counts as well.

    Args:
        root: Where `/proc` and `/sys` are.

    """
    bounds = [_address_space(root)]
    if (found := machine_memory(root)) is not None:
        if sys.platform == "linux":
            bounds.append(found.free + _read_numbers(root / "proc/meminfo").get("SwapFree", 0) * 1024)
        else:  # memory is compressed and swapped as needed, so what is free now says little
            bounds.append(found.total)
    known = [one for one in bounds if one is not None]
    return min(known) if known else None


def _address_space(root: Path) -> int | None:
    """Return how much address space the process may still take; None without a limit."""
    if sys.platform != "linux":
        return None
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    pages = (root / "proc/self/statm").read_text(encoding="ascii").split()[0]
    return max(0, limit - int(pages) * resource.getpagesize())


def nvidia_memory(output: str) -> Iterator[DeviceMemory]:
    """Yield the GPUs that `nvidia-smi --format=csv,noheader,nounits` lists: name, MiB in all, MiB free."""
    for line in output.splitlines():
        name, *figures = (part.strip() for part in line.rsplit(",", 2))
        if len(figures) == 2 and all(figure.isdecimal() for figure in figures):
            total, free = (int(figure) * 2**20 for figure in figures)
            yield DeviceMemory(device=name, total=total, free=free)


def _nvidia_devices() -> Iterator[DeviceMemory]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible in ("", "-1") or _is_cpu_only_torch():
        return
    chosen = ("-i", visible) if visible else ()
    fields = "--query-gpu=name,memory.total,memory.free"
    yield from nvidia_memory(_command_output("nvidia-smi", *chosen, fields, "--format=csv,noheader,nounits"))


def _is_cpu_only_torch() -> bool:
    try:
        return version("torch").endswith("+cpu")
    except PackageNotFoundError:
        return False


def _command_output(*command: str) -> str:
    """Return what a program writes; nothing if there is no such program, or it fails."""
    try:
        run = subprocess.run(  # noqa: S603 - its name and arguments are written above
            command, capture_output=True, text=True, errors="replace", timeout=COMMAND_TIMEOUT, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return run.stdout


def _read_numbers(path: Path) -> dict[str, int]:
    """Return the numbers of a file whose lines are `name: number unit`."""
    lines = re.findall(r"^(\w+):?\s+(\d+)", _text(path), re.MULTILINE)
    return {name: int(number) for name, number in lines}


def _read_number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None


def _text(path: Path) -> str:
    """Return the contents of a file of the kernel; nothing if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return ""
