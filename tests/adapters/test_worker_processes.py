"""Tests of a worker process: access control, liveness, and cleanup."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import attrs
import psutil
import pytest

from litgpt import LLM
from litgpt.adapters.pytorch.distribution.tensor_parallel.rank0 import Rank0GPT
from litgpt.adapters.pytorch.distribution.tensor_parallel.worker_pool import WorkerPool
from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.generation.errors import WorkerLost
from tests.adapters.test_workers import gone, one_device, over, workers
from tests.adapters.tiny_models import tiny_folder

OPTIONS: dict[str, Any] = {"max_new_tokens": 5, "top_k": 1}
PATIENCE = 2.0
"""Seconds for which a rank that is not stopped may keep the others waiting, however busy this machine is."""
LONG = 120.0

# A caller that prints its workers' process ids, and then answers or exits on command.
SCRIPT = """
import os, sys
from litgpt import LLM
llm = LLM.load({model!r}, distribute=None, quiet=True)
llm.distribute(accelerator="cpu", devices=2, generate_strategy="tensor_parallel", precision="32-true")
{then}
print("workers", *[worker.process.pid for worker in llm.model.pool.workers], flush=True)
for line in sys.stdin:
    print("begun", flush=True)
    print(llm.generate("again", max_new_tokens=int(line), top_k=1).encode().hex(), flush=True)
"""


def until(condition: Callable[[], object], within: float = LONG) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@contextmanager
def calling(then: str = "", **environment: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT.format(model=str(tiny_folder("llama")), then=then)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
        start_new_session=True,
    ) as caller:
        try:
            yield caller
        finally:
            caller.kill()


def read_words(caller: subprocess.Popen[str], first: str) -> list[str]:
    assert caller.stdout is not None
    words = caller.stdout.readline().split()
    assert words[:1] == [first], words
    return words[1:]


def ask(caller: subprocess.Popen[str], tokens: int) -> None:
    assert caller.stdin is not None
    caller.stdin.write(f"{tokens}\n")
    caller.stdin.flush()
    read_words(caller, "begun")


def answer(caller: subprocess.Popen[str]) -> str:
    assert caller.stdout is not None
    return bytes.fromhex(caller.stdout.readline()).decode()


@pytest.fixture(scope="module")
def expected() -> str:
    return str(one_device().generate("again", **OPTIONS))


def other_interface() -> str:
    return next((name for name in psutil.net_if_addrs() if name != "lo"), "none0")


def assert_only_loopback_is_listened_on(caller: subprocess.Popen[str]) -> None:
    caller_itself = psutil.Process(caller.pid)
    processes = [caller_itself, *caller_itself.children()]
    processes = [
        process for process in processes if process == caller_itself or "litgpt.worker" in process.cmdline()
    ]
    sockets = [connection for process in processes for connection in process.net_connections("inet")]
    listening = [
        socket.laddr.ip for socket in sockets if socket.status == psutil.CONN_LISTEN or not socket.raddr
    ]
    assert len(listening) == len(processes) == 2  # Gloo's of each rank, and nothing that takes commands
    assert all(ip_address(ip).is_loopback for ip in listening), listening
    *_, module, socket = processes[1].cmdline()
    assert module == "litgpt.worker"
    assert socket.isdecimal()  # all that others can see of its commands: a number that only it can use


@pytest.fixture(scope="module")
def caller() -> Iterator[subprocess.Popen[str]]:
    """Return a process that has workers, and whose fork has ended."""
    fork = "child = os.fork()\nif not child:\n    sys.exit()\nassert os.waitpid(child, 0)[1] == 0"
    with calling(f"llm.model.pool.timeout = {PATIENCE}\n{fork}") as started:
        read_words(started, "workers")
        yield started


def test_every_socket_that_listens_is_on_loopback(caller: subprocess.Popen[str]) -> None:
    assert_only_loopback_is_listened_on(caller)


def test_a_fork_that_ends_leaves_the_workers_to_its_parent(
    caller: subprocess.Popen[str], expected: str
) -> None:
    ask(caller, OPTIONS["max_new_tokens"])
    assert answer(caller) == expected


def test_processes_suspended_within_a_step_are_waited_for(caller: subprocess.Popen[str]) -> None:
    tokens = 40
    (worker,) = psutil.Process(caller.pid).children()
    ask(caller, tokens)
    for process in (caller, worker):
        os.kill(process.pid, signal.SIGSTOP)
    for process in (caller, worker):
        time.sleep(PATIENCE + 0.5)  # nothing else shows that its patience is over
        os.kill(process.pid, signal.SIGCONT)
    assert answer(caller) == one_device().generate("again", max_new_tokens=tokens, top_k=1)


def test_a_killed_caller_leaves_no_worker_and_no_folder_even_if_its_fork_lives(tmp_path: Path) -> None:
    fork = "import time\nif not (child := os.fork()):\n    time.sleep(600)\nprint('fork', child, flush=True)"
    environment = {"GLOO_SOCKET_IFNAME": other_interface(), "TP_SOCKET_IFNAME": other_interface()}
    environment |= {"HOSTNAME": "an.other.host", "MASTER_ADDR": "0.0.0.0", "MASTER_PORT": "0"}  # noqa: S104
    environment |= {"TORCH_GLOO_LAZY_INIT": "1", "TMPDIR": str(tmp_path)}
    with calling(fork, **environment) as caller:
        (child,) = map(int, read_words(caller, "fork"))
        try:
            pids = [int(value) for value in read_words(caller, "workers")]
            assert_only_loopback_is_listened_on(caller)
            caller.kill()
            caller.wait()
            assert gone(pids)
            until(lambda: not list(tmp_path.glob("litgpt-*")))
        finally:
            os.kill(child, signal.SIGKILL)


@pytest.fixture
def start_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that registers code to run at the start of each new interpreter."""

    def give(code: str) -> None:
        (tmp_path / "sitecustomize.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    return give


@attrs.frozen
class HostileEnvironment:
    """A model whose worker was started in a hostile environment.

    Attributes:
        llm: The model.
        temporary: The folder of temporary files.
        was_busy: Exists once the worker's interpreter was busy, which SIGUSR1 makes it for two seconds. After
            SIGUSR2, the worker hangs.
    """

    llm: LLM
    temporary: Path
    was_busy: Path

    @property
    def crew(self) -> WorkerPool:
        assert isinstance(self.llm.model, Rank0GPT)
        return self.llm.model.pool


@pytest.fixture(scope="module")
def surrounded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostileEnvironment]:
    folder = tmp_path_factory.mktemp("surroundings")
    temporary, site, here, was_busy = (folder / name for name in ("tmp", "site", "here", "busy"))
    for value in (temporary, site, here):
        value.mkdir()
    (site / "sitecustomize.py").write_text(
        "import ctypes, pathlib, signal, sys, time\n"
        "def hold(*_):\n"
        "    ctypes.PyDLL(None).usleep(2_000_000)  # without letting other threads run\n"
        f"    pathlib.Path({str(was_busy)!r}).touch()\n"
        "signal.signal(signal.SIGUSR1, hold)\n"
        "signal.signal(signal.SIGUSR2, lambda *_: time.sleep(600))\n"
        "print('out' * 100_000)\n"
        "sys.stderr.write(('x' * 99 + '\\n') * 40_000)\n"
    )
    for name in ("json", "torch", "litgpt"):
        (here / f"{name}.py").write_text("raise SystemExit('the wrong one')\n")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PYTHONVERBOSE", "PYTHONFAULTHANDLER", "PYTHONDEVMODE", "PYTHONINSPECT"):
            patch.setenv(name, "1")
        patch.setenv("PYTHONWARNINGS", "error")
        patch.setenv("PYTHONPATH", str(site))
        patch.setattr(tempfile, "tempdir", str(temporary))
        patch.setattr(sys, "path", [part for part in sys.path if part])
        patch.chdir(here)
        llm = over(2)
    with llm:
        yield HostileEnvironment(llm, temporary, was_busy)


def test_a_worker_starts_in_a_hostile_environment(surrounded: HostileEnvironment, expected: str) -> None:
    assert surrounded.llm.generate("again", **OPTIONS) == expected


def test_only_the_user_can_open_the_folder_in_which_ranks_meet(surrounded: HostileEnvironment) -> None:
    (meeting,) = surrounded.temporary.glob("litgpt-*")
    assert stat.S_IMODE(meeting.stat().st_mode) == 0o700


def test_a_worker_whose_interpreter_is_busy_is_not_lost(
    surrounded: HostileEnvironment, expected: str
) -> None:
    crew = surrounded.crew
    crew.timeout, patience = 0.5, crew.timeout
    os.kill(workers(surrounded.llm)[0], signal.SIGUSR1)
    until(surrounded.was_busy.exists)
    crew.timeout = patience
    assert surrounded.llm.generate("again", **OPTIONS) == expected


def test_a_worker_that_hangs_is_an_error_when_a_step_takes_too_long(surrounded: HostileEnvironment) -> None:
    surrounded.crew.timeout = 0.5  # and these workers are gone then: this is the last test with them
    pids = workers(surrounded.llm)
    os.kill(pids[0], signal.SIGUSR2)
    with pytest.raises(WorkerLost, match=r"rank 1 .*did not take part in a step for 0.5 seconds"):
        surrounded.llm.generate("again", **OPTIONS)
    assert gone(pids)
    surrounded.llm.close()
    assert not list(surrounded.temporary.glob("litgpt-*"))


def test_without_a_temporary_folder_the_error_has_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(UnsupportedOperation, match=r"temporary folder.*TMPDIR"):
        over(2)


def test_a_library_that_is_missing_at_a_worker_is_named(start_up: Callable[[str], None]) -> None:
    start_up("import sys\nsys.modules['torch'] = None\n")
    with pytest.raises(WorkerLost, match=r"rank 1 .*gone: ModuleNotFoundError: .*torch"):
        over(2)


def test_the_error_of_a_failed_worker_start_has_its_last_stderr_lines(
    start_up: Callable[[str], None],
) -> None:
    start_up(
        "import os, sys\nsys.stderr.write('first\\nsecond\\nlast\\n')\nsys.stderr.flush()\nos._exit(9)\n"
    )
    with pytest.raises(WorkerLost, match=r"rank 1 .*did not start: last") as raised:
        over(2)
    assert raised.value.__notes__ == ["Last lines of stderr of rank 1:\nfirst\nsecond\nlast"]


def test_a_process_that_fails_to_start_is_a_litgpt_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/interpreter")
    with pytest.raises(WorkerLost, match=r"rank 1 .*did not start: .*No such file"):
        over(2)


def test_ctrl_c_while_workers_start_is_the_callers_alone() -> None:
    with calling() as caller:
        until(lambda: psutil.Process(caller.pid).children())
        (worker,) = psutil.Process(caller.pid).children()
        until(lambda: os.getpgid(worker.pid) != os.getpgid(caller.pid))
        os.killpg(caller.pid, signal.SIGINT)
        assert caller.wait(LONG) == -signal.SIGINT
        assert gone([worker.pid])
