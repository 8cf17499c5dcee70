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

from litgpt.domain.computing_errors import WorkerLost
from litgpt.domain.errors import OutOfReach

_TO_END = 5.0
# How much is kept of what a worker writes to its standard error, and how much of it an error shows.
_TAIL = 8192
_LINES = 10


@attrs.define(eq=False)
class Worker:
    """One of the other ranks.

    Attributes:
        rank: Which.
        process: Its process.
        stderr: What it wrote last to its standard error.
        line: What is said to it and by it. The system closes its other end when the process is gone.
        ready: Whether it has its weights.
        said: What it said went wrong, before it ended.
        failed: In which group it could not finish a step, and why; it is alive.

    """

    rank: int
    process: subprocess.Popen[bytes]
    stderr: "Tail"
    line: Connection
    ready: bool = False
    said: str | None = None
    failed: tuple[int, str] | None = None

    def lost(self) -> WorkerLost | None:
        """Return what became of it; None if it is alive."""
        code = self.process.poll()
        listens = self._listen()  # after that: what it said before its end is heard
        if self.said is not None:
            return WorkerLost(self.rank, self.said)
        if listens and code is None:
            return None
        try:
            cause = _end_of(self.process.wait(_TO_END))
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

    def _listen(self) -> bool:
        """Hear all that it has said; return False if it cannot say more."""
        try:
            while self.line.poll():
                self._hear(json.loads(self.line.recv_bytes()))
        except (EOFError, OSError):
            return False
        return True

    def _hear(self, message: Mapping[str, Any]) -> None:
        if "group" in message:
            self.failed = message["group"], message["error"]
        elif "error" in message:
            self.said = message["error"]
        else:
            self.ready = True


class Tail:
    """The end of what a stream says, read as it comes: a full pipe would stop who writes to it.

    Args:
        stream: Which; it is closed at its end.

    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._kept = b""
        self._thread = threading.Thread(target=self._read, args=(stream,), name="litgpt-stderr", daemon=True)
        self._thread.start()

    def last_lines(self) -> list[str]:
        """Return the last lines that are not empty, at most ten."""
        self._thread.join(1.0)  # of a process that has ended, the rest comes at once
        lines = (line.rstrip() for line in self._kept.decode(errors="replace").split("\n"))
        return [line for line in lines if line][-_LINES:]

    def _read(self, stream: IO[bytes]) -> None:
        with stream, suppress(OSError):
            while some := os.read(stream.fileno(), 1 << 16):
                self._kept = (self._kept + some)[-_TAIL:]


def threads_each(ranks: int) -> int:
    """Return how many of this machine's cores each of several ranks has."""
    return max(1, (os.cpu_count() or 1) // ranks)


def start_all(job: Mapping[str, Any], ranks: int) -> list[Worker]:
    """Return the other ranks, which begin with their job.

    Args:
        job: What each is told, besides its rank.
        ranks: How many ranks there are, the caller's own among them.

    Raises:
        OutOfReach: This system cannot hand a socket to a process that it starts.
        WorkerLost: The system does not start one of them.

    """
    if os.name != "posix":
        raise OutOfReach(
            "generate_strategy='tensor_parallel'", "it needs a POSIX system, such as Linux or macOS."
        )
    workers = list[Worker]()
    try:
        for rank in range(1, ranks):
            call = {"rank": rank, "ranks": ranks, "caller": os.getpid(), **job}
            try:
                workers.append(_start(call, ranks))
            except OSError as error:
                raise WorkerLost(rank, f"it did not start: {error}") from error
    except BaseException:
        end_all(workers)
        raise
    return workers


def end_all(workers: Sequence[Worker]) -> None:
    """End workers, which have nothing to finish."""
    for worker in workers:
        worker.process.kill()
    for worker in workers:
        worker.process.wait()


def _start(call: Mapping[str, Any], ranks: int) -> Worker:
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
            env=_environment(ranks),
        )
    assert process.stderr is not None  # noqa: S101 - it is a pipe
    with suppress(OSError):  # it has ended already, which is noticed by whoever waits for it
        parent_end.send_bytes(json.dumps(call).encode())
    return Worker(call["rank"], process, Tail(process.stderr), parent_end)


def _environment(ranks: int) -> dict[str, str]:
    """Return the environment of a worker, which finds the same modules as this process."""
    given = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([*([given] if given else []), *(part or str(Path.cwd()) for part in sys.path)])
    threads = str(threads_each(ranks))
    return {"OMP_NUM_THREADS": threads, **os.environ, "PYTHONPATH": path, "LITGPT_QUIET": "1"}


def _end_of(code: int) -> str:
    if code >= 0:
        return f"it ended with status {code}"
    if code == -signal.SIGKILL:
        return f"it was ended by signal {-code} (SIGKILL), as the system does when memory runs out"
    try:
        return f"it was ended by signal {-code} ({signal.Signals(-code).name})"
    except ValueError:  # a real-time signal, which has no name
        return f"it was ended by signal {-code}"
