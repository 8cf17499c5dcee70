"""Processes of replicas that end, hang or cannot be started, with small ones that have no model."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from litgpt.cli.device_processes.process import DeviceProcess
from litgpt.cli.device_processes.shares import DeviceShares
from litgpt.cli.replicas import processes
from litgpt.cli.replicas.processes import ReplicaProcesses
from tests.architecture.repository import ROOT
from tests.server.replicas.running_replicas import wait_for

WORKER = "tests.server.replicas.small_worker"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX system")


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplicaProcesses]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(processes, "_WORKER", WORKER)
    monkeypatch.setattr(processes, "_MIN_DELAY", 0.01)
    with ReplicaProcesses({"settings": {}, "quiet": True}, 1) as running:
        yield running


def is_another(running: ReplicaProcesses, pid: int) -> bool:
    return running.pids() not in ([pid], [None]) and running.replicas[0].endpoint is not None


def test_a_process_that_hangs_is_replaced(
    running: ReplicaProcesses, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(processes, "_PING_SECONDS", 0.05)
    monkeypatch.setattr(processes, "_SILENT_SECONDS", 2.0)
    pid = running.pids()[0]
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: is_another(running, pid))
    assert "it has not answered for 2 s" in caplog.text


def test_a_process_that_never_becomes_ready_is_replaced(
    running: ReplicaProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_LOADING_SECONDS", 0.1)
    pid = running.pids()[0]
    assert pid is not None
    running.replicas[0].endpoint = None
    wait_for(lambda: running.pids() != [pid])


def test_a_machine_without_memory_for_a_process_is_asked_again(
    running: ReplicaProcesses, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures = iter([OSError(11, "Resource temporarily unavailable"), RuntimeError("can't start new thread")])

    def start(*arguments: Any) -> DeviceProcess:
        for error in failures:
            raise error
        return DeviceProcess(*arguments)

    monkeypatch.setattr(processes, "DeviceProcess", start)
    pid = running.pids()[0]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: is_another(running, pid))
    assert "could not be started ([Errno 11] Resource temporarily unavailable)" in caplog.text


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_a_process_that_cannot_be_started_leaves_no_open_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", fail)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(BlockingIOError):
        DeviceProcess(WORKER, {}, DeviceShares.measure(1), 0, SimpleQueue())
    assert len(list(Path("/proc/self/fd").iterdir())) == before
