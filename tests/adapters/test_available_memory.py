"""Tests of `available_memory`: the memory limits read from the operating system."""

from pathlib import Path

import psutil
import pytest

from litgpt.adapters.pytorch.runtime.system_memory import (
    allocatable_memory,
    device_memory,
    machine_memory,
    nvidia_memory,
)
from litgpt.domain.memory.estimate import DeviceMemory

GIB = 2**30
OTHERS = ("Buffers", "Cached", "SReclaimable", "Shmem", "Active", "Inactive", "Slab")
MEMINFO = (
    "MemTotal: 16777216 kB\nMemFree: 1048576 kB\nMemAvailable: 8388608 kB\nHugePages_Total: 0\n"
    + "".join(f"{name}: 0 kB\n" for name in OTHERS)
)


@pytest.fixture(autouse=True)
def proc_of_the_test(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let psutil read a `/proc` that the test writes."""
    if "tmp_path" in request.fixturenames:
        monkeypatch.setattr(
            psutil, "PROCFS_PATH", str(request.getfixturevalue("tmp_path") / "proc"), raising=False
        )


def system(root: Path, **files: str) -> Path:
    for name, text in {"proc/meminfo": MEMINFO, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="ascii")
    return root


def test_this_machine_has_memory() -> None:
    *_, memory = device_memory()
    assert 0 < memory.free <= memory.total
    assert memory.total > GIB / 2


def test_linux_memory_is_the_available_and_not_only_the_free_one(tmp_path: Path) -> None:
    assert machine_memory(system(tmp_path)) == DeviceMemory(device="memory", total=16 * GIB, free=8 * GIB)


def test_a_container_is_limited_by_its_control_group(tmp_path: Path) -> None:
    files = {
        "memory.max": f"{4 * GIB}\n",
        "memory.current": f"{3 * GIB}\n",
        "memory.stat": f"anon 5\ninactive_file {GIB}\n",
    }
    root = system(tmp_path, **{f"sys/fs/cgroup/{name}": text for name, text in files.items()})
    assert machine_memory(root) == DeviceMemory(device="memory", total=4 * GIB, free=2 * GIB)


def test_a_container_with_cgroup_v1_is_limited_too(tmp_path: Path) -> None:
    files = {"limit_in_bytes": f"{4 * GIB}", "usage_in_bytes": f"{GIB}", "stat": "total_inactive_file 0\n"}
    root = system(tmp_path, **{f"sys/fs/cgroup/memory/memory.{name}": text for name, text in files.items()})
    assert machine_memory(root) == DeviceMemory(device="memory", total=4 * GIB, free=3 * GIB)


def test_a_container_without_a_bound_has_the_machines_memory(tmp_path: Path) -> None:
    files = {"sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2**63}"}
    assert machine_memory(system(tmp_path, **files)) == DeviceMemory(
        device="memory", total=16 * GIB, free=8 * GIB
    )


def groups(version: int, limits: dict[str, str]) -> dict[str, str]:
    """Return the files of control groups, each with a limit and 1 GiB used."""
    top, limit, used = {
        1: ("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
        2: ("sys/fs/cgroup", "memory.max", "memory.current"),
    }[version]
    files: dict[str, str] = {}
    for group, bound in limits.items():
        files |= {f"{top}{group}/{limit}": f"{bound}\n", f"{top}{group}/{used}": f"{GIB}\n"}
    return files


OWN = {1: "5:cpu:/\n4:cpuset,memory:/a/b\n0::/elsewhere\n", 2: "4:cpu:/\n0::/a/b\n"}
UNLIMITED = {1: f"{2**63 - 4096}", 2: "max"}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("limited", ["", "/a", "/a/b"])
def test_the_limit_of_a_nested_control_group_or_of_a_parent_holds(
    tmp_path: Path, version: int, limited: str
) -> None:
    limits = dict.fromkeys(("", "/a", "/a/b", "/other"), UNLIMITED[version])
    files = groups(version, limits | {limited: f"{4 * GIB}", "/other": "1000"})
    root = system(tmp_path, **files, **{"proc/self/cgroup": OWN[version]})
    assert machine_memory(root) == DeviceMemory(device="memory", total=4 * GIB, free=3 * GIB)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("child", "parent"), [(6, 4), (4, 6)])
def test_the_smallest_limit_of_several_control_groups_applies(
    tmp_path: Path, version: int, child: int, parent: int
) -> None:
    files = groups(version, {"/a": f"{parent * GIB}", "/a/b": f"{child * GIB}"})
    root = system(tmp_path, **files, **{"proc/self/cgroup": OWN[version]})
    assert machine_memory(root) == DeviceMemory(device="memory", total=4 * GIB, free=3 * GIB)
    assert allocatable_memory(root) == 3 * GIB


@pytest.mark.parametrize(
    "own",
    [
        "",
        "0::/\n",
        "0::/not/mounted/here\n",
        "0::/../../x\n",
        "4:memory:/../x\n",
        "nonsense\n0:\n",
        "0::/\0\n",
    ],
)
def test_a_group_that_is_not_mounted_leaves_the_limit_at_the_top(tmp_path: Path, own: str) -> None:
    root = system(tmp_path, **groups(2, {"": f"{4 * GIB}"}), **{"proc/self/cgroup": own})
    assert machine_memory(root) == DeviceMemory(device="memory", total=4 * GIB, free=3 * GIB)


def test_a_group_of_version_2_beside_version_1_is_found(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "1:name=systemd:/\n0::/a\n",
        "sys/fs/cgroup/unified/a/memory.max": f"{4 * GIB}",
    }
    assert machine_memory(system(tmp_path, **files)) == DeviceMemory(
        device="memory", total=4 * GIB, free=4 * GIB
    )


def test_a_process_with_a_share_of_the_memory_uses_no_more_than_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = system(
        tmp_path, **{"proc/self/status": "Name:\tpython\nVmRSS:\t 3145728 kB\nRssAnon:\t 1048576 kB\n"}
    )
    monkeypatch.setenv("LITGPT_MEMORY_LIMIT", f"{3 * GIB}")
    assert allocatable_memory(root) == 2 * GIB
    monkeypatch.setenv("LITGPT_MEMORY_LIMIT", f"{20 * GIB}")
    assert allocatable_memory(root) == 8 * GIB
    for nonsense in ("", "-1", "much"):
        monkeypatch.setenv("LITGPT_MEMORY_LIMIT", nonsense)
        assert allocatable_memory(root) == 8 * GIB


def test_a_system_without_memory_information_has_unknown_memory(tmp_path: Path) -> None:
    assert machine_memory(tmp_path) is None


def test_only_gpus_are_listed() -> None:
    output = (
        "NVIDIA H100 80GB HBM3, 81559, 81000\nA100, SXM4, 40960, 1024\nNo devices were found\nx, [N/A], 1\n"
    )
    assert list(nvidia_memory(output)) == [
        DeviceMemory(device="NVIDIA H100 80GB HBM3", total=81559 * 2**20, free=81000 * 2**20),
        DeviceMemory(device="A100, SXM4", total=40960 * 2**20, free=2**30),
    ]
