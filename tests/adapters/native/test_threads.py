"""Tests of the number of threads."""

import os
from pathlib import Path

import pytest

from litgpt.adapters.native.threads import VARIABLES, thread_count

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def system(root: Path, **files: str) -> Path:
    """Write files of `/proc` and `/sys` below `root`."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="ascii")
    return root


def test_there_is_a_thread_for_each_core(tmp_path: Path) -> None:
    assert thread_count(tmp_path) == CORES
    assert 1 <= thread_count() <= CORES


@pytest.mark.parametrize(
    ("variables", "count"),
    [
        ({"LITGPT_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "5"}, 5),
        ({"OMP_NUM_THREADS": "6,2"}, 6),
        ({"LITGPT_NUM_THREADS": "3", "OMP_NUM_THREADS": "5"}, 3),
        ({"LITGPT_NUM_THREADS": "", "OMP_NUM_THREADS": "5"}, 5),
        ({"LITGPT_NUM_THREADS": "0"}, CORES),
        ({"LITGPT_NUM_THREADS": "two"}, CORES),
        ({"LITGPT_NUM_THREADS": "100000"}, 256),
    ],
)
def test_variables_choose_the_number(
    variables: dict[str, str], count: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert thread_count(tmp_path) == count


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux only")
def test_two_hardware_threads_of_a_core_count_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 4, 5})
    cpus = {number: ("0,4" if number in (0, 4) else "1,5") for number in range(8)}
    topology = "sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    root = system(tmp_path, **{topology.format(number): text for number, text in cpus.items()})
    assert thread_count(root) == 2


@pytest.mark.parametrize(
    ("files", "count"),
    [
        ({"cpu.max": "200000 100000"}, 2),
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "10000 100000"}, 1),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ({"jobs/cpu.max": "400000 100000", "jobs/one/cpu.max": "max 100000"}, 4),
    ],
)
def test_the_quota_of_the_control_groups_is_a_limit(
    files: dict[str, str], count: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    groups = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    root = system(tmp_path, **groups, **{"proc/self/cgroup": "0::/jobs/one"})
    assert thread_count(root) == count
