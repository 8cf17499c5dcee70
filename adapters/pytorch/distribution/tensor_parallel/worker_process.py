"""Processes that are the other ranks: how they are started and ended, and what became of each."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

import attrs

from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.generation.errors import WorkerLost

_SHUTDOWN_SECONDS = 5.0
# How much is kept of what a worker writes to its standard error, and how much of it an error shows.
_TAIL_BYTES = 8192
_TAIL_LINES = 10


@attrs.define(eq=False)
class WorkerProcess:
    """One of the other ranks.

    Attributes:
        rank: Which.
        process: Its process.
        stderr: What it wrote last to its standard error.
        connection: What is said to it and by it. The system closes its other end when the process is gone.
        ready: Whether it has its weights.
        error: What it said went wrong, before it ended.
        failed_step: In which group it could not finish a step, and why; it is alive.

    """

    rank: int
    process: subprocess.Popen[bytes]
    stderr: "StderrTail"
    connection: Connection
    ready: bool = False
    error: str | None = None
    failed_step: tuple[int, str] | None = None

    def failure(self) -> WorkerLost | None:
        """Return what became of it; None if it is alive."""
        code = self.process.poll()
        listens = self._receive()  # after that: what it said before its end is heard
        if self.error is not None:
            return WorkerLost(self.rank, self.error)
        if listens and code is None:
            return None
        try:
            cause = _exit_reason(self.process.wait(_SHUTDOWN_SECONDS))
        except subprocess.TimeoutExpired:
            cause = "it closed its connection"
        said = self.stderr.last_lines()
        if not self.ready:
            cause = f"it did not start: {said[-1] if said else cause}"
        elif said and self.process.returncode != -signal.SIGKILL:
            cause = f"{cause}: {said[-1]}"
        lost = WorkerLost(self.rank, cause)
        if len(said) > 1:
            lost.add_note("\n".join((f"The process of rank {self.rank} wrote last:", *said)))
        return lost

    @property
    def is_stopped(self) -> bool:
        """Whether somebody has stopped the process, by SIGSTOP for example, and it will go on."""
        if not hasattr(os, "waitid"):  # macOS, with a Python before 3.13
            return False
        try:
            state = os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return state is not None

    def _receive(self) -> bool:
        """Hear all that it has said; return False if it cannot say more."""
        try:
            while self.connection.poll():
                self._handle(json.loads(self.connection.recv_bytes()))
        except (EOFError, OSError):
            return False
        return True

    def _handle(self, message: Mapping[str, Any]) -> None:
        if "group" in message:
            self.failed_step = message["group"], message["error"]
        elif "error" in message:
            self.error = message["error"]
        else:
            self.ready = True


class StderrTail:
    """The end of what a stream says, read as it comes: a full pipe would stop who writes to it.

    Args:
        stream: Which; it is closed at its end.

    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._tail = b""
        self._thread = threading.Thread(target=self._read, args=(stream,), name="litgpt-stderr", daemon=True)
        self._thread.start()

    def last_lines(self) -> list[str]:
        """Return the last lines that are not empty, at most ten."""
        self._thread.join(1.0)  # of a process that has ended, the rest comes at once
        lines = (line.rstrip() for line in self._tail.decode(errors="replace").split("\n"))
        return [line for line in lines if line][-_TAIL_LINES:]

    def _read(self, stream: IO[bytes]) -> None:
        with stream, suppress(OSError):
            while some := os.read(stream.fileno(), 1 << 16):
                self._tail = (self._tail + some)[-_TAIL_BYTES:]


def threads_per_rank(world_size: int) -> int:
    """Return how many of this machine's cores each of several ranks has."""
    return max(1, (os.cpu_count() or 1) // world_size)


def start_workers(job: Mapping[str, Any], world_size: int) -> list[WorkerProcess]:
    """Return the other ranks, which begin with their job.

    Args:
        job: What each is told, besides its rank.
        world_size: How many ranks there are, the caller's own among them.

    Raises:
        OutOfReach: This system cannot hand a socket to a process that it starts.
        WorkerLost: The system does not start one of them.

    """
    if os.name != "posix":
        raise UnsupportedOperation(
            "generate_strategy='tensor_parallel'", "it needs a POSIX system, such as Linux or macOS."
        )
    workers = list[WorkerProcess]()
    try:
        for rank in range(1, world_size):
            call = {"rank": rank, "ranks": world_size, "caller": os.getpid(), **job}
            try:
                workers.append(_start(call, world_size))
            except OSError as error:
                raise WorkerLost(rank, f"it did not start: {error}") from error
    except BaseException:
        stop_workers(workers)
        raise
    return workers


def stop_workers(workers: Sequence[WorkerProcess]) -> None:
    """End workers, which have nothing to finish."""
    for worker in workers:
        worker.process.kill()
    for worker in workers:
        worker.process.wait()


def _start(job: Mapping[str, Any], world_size: int) -> WorkerProcess:
    # A socket that has no address: nobody can connect to it, and the worker is the only one who is handed it.
    parent_end, child_end = Pipe()
    with child_end:
        process = subprocess.Popen(  # noqa: S603 - this interpreter, and our own module
            # Nobody reads a worker's warnings, so none may become an error. -P: as the caller's own imports
            # do, they come from its path and not from whatever folder it is in.
            [sys.executable, "-W", "ignore", "-P", "-m", "litgpt.worker", str(child_end.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=[child_end.fileno()],
            process_group=0,  # Ctrl-C reaches the caller alone, which says what it means
            env=_environment(world_size),
        )
    assert process.stderr is not None  # noqa: S101 - it is a pipe
    with suppress(OSError):  # it has ended already, which is noticed by whoever waits for it
        parent_end.send_bytes(json.dumps(job).encode())
    return WorkerProcess(job["rank"], process, StderrTail(process.stderr), parent_end)


def _environment(world_size: int) -> dict[str, str]:
    """Return the environment of a worker, which finds the same modules as this process."""
    given = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([*([given] if given else []), *(part or str(Path.cwd()) for part in sys.path)])
    threads = str(threads_per_rank(world_size))
    return {"OMP_NUM_THREADS": threads, **os.environ, "PYTHONPATH": path, "LITGPT_QUIET": "1"}


def _exit_reason(code: int) -> str:
    if code >= 0:
        return f"it ended with status {code}"
    if code == -signal.SIGKILL:
        return f"it was ended by signal {-code} (SIGKILL), as the system does when memory runs out"
    try:
        return f"it was ended by signal {-code} ({signal.Signals(-code).name})"
    except ValueError:  # a real-time signal, which has no name
        return f"it was ended by signal {-code}"
