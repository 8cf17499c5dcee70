"""Start and end worker processes, and determine why one has failed."""

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
# The size of the recorded end of a worker's standard error, and the number of its lines in an error.
_TAIL_BYTES = 8192
_TAIL_LINES = 10


@attrs.define(eq=False)
class WorkerProcess:
    """The process of one worker rank; the system closes `connection` when it ends.

    Attributes:
        error: The error that it reported before it ended.
        failed_step: The reconnection attempt and the error of a failed step that it survived.
    """

    rank: int
    process: subprocess.Popen[bytes]
    stderr: "StderrTail"
    connection: Connection
    ready: bool = False
    error: str | None = None
    failed_step: tuple[int, str] | None = None

    def failure(self) -> WorkerLost | None:
        """Return the reason why the process is lost; None if it is alive."""
        code = self.process.poll()
        is_open = self._receive()  # after poll(): messages sent before the exit are read
        if self.error is not None:
            return WorkerLost(self.rank, self.error)
        if is_open and code is None:
            return None
        try:
            cause = _exit_reason(self.process.wait(_SHUTDOWN_SECONDS))
        except subprocess.TimeoutExpired:
            cause = "it closed its connection"
        lines = self.stderr.last_lines()
        if not self.ready:
            cause = f"it did not start: {lines[-1] if lines else cause}"
        elif lines and self.process.returncode != -signal.SIGKILL:
            cause = f"{cause}: {lines[-1]}"
        lost = WorkerLost(self.rank, cause)
        if len(lines) > 1:
            lost.add_note("\n".join((f"Last lines of stderr of rank {self.rank}:", *lines)))
        return lost

    @property
    def is_stopped(self) -> bool:
        """Whether the process is stopped, by SIGSTOP for example."""
        if not hasattr(os, "waitid"):  # macOS, with a Python before 3.13
            return False
        try:
            state = os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return state is not None

    def _receive(self) -> bool:
        """Handle all pending messages; return False if the connection is closed."""
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
    """The end of a stream, read continuously so that the pipe never blocks its writer."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._tail = b""
        self._thread = threading.Thread(target=self._read, args=(stream,), name="litgpt-stderr", daemon=True)
        self._thread.start()

    def last_lines(self) -> list[str]:
        self._thread.join(1.0)  # after the process has ended, the rest is available at once
        lines = (line.rstrip() for line in self._tail.decode(errors="replace").split("\n"))
        return [line for line in lines if line][-_TAIL_LINES:]

    def _read(self, stream: IO[bytes]) -> None:
        with stream, suppress(OSError):
            while chunk := os.read(stream.fileno(), 1 << 16):
                self._tail = (self._tail + chunk)[-_TAIL_BYTES:]


def threads_per_rank(world_size: int) -> int:
    """Return the number of this machine's cores for each rank."""
    return max(1, (os.cpu_count() or 1) // world_size)


def start_workers(job: Mapping[str, Any], world_size: int) -> list[WorkerProcess]:
    """Start the processes of all ranks above 0; only POSIX systems can pass them a socket."""
    if os.name != "posix":
        raise UnsupportedOperation(
            "generate_strategy='tensor_parallel'", "it needs a POSIX system, such as Linux or macOS."
        )
    workers = list[WorkerProcess]()
    try:
        for rank in range(1, world_size):
            full_job = {"rank": rank, "ranks": world_size, "caller": os.getpid(), **job}
            try:
                workers.append(_start(full_job, world_size))
            except OSError as error:
                raise WorkerLost(rank, f"it did not start: {error}") from error
    except BaseException:
        stop_workers(workers)
        raise
    return workers


def stop_workers(workers: Sequence[WorkerProcess]) -> None:
    """Kill workers, which have no state to save."""
    for worker in workers:
        worker.process.kill()
    for worker in workers:
        worker.process.wait()


def _start(job: Mapping[str, Any], world_size: int) -> WorkerProcess:
    # A socket pair has no address, so no other process can connect to it.
    parent_end, child_end = Pipe()
    with child_end:
        process = subprocess.Popen(  # noqa: S603 - this interpreter, and a module of this package
            # -W ignore: the warnings are not shown, and must not become errors. -P: import from the caller's
            # sys.path only, not from the current folder.
            [sys.executable, "-W", "ignore", "-P", "-m", "litgpt.worker", str(child_end.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=[child_end.fileno()],
            process_group=0,  # Ctrl-C reaches the caller only
            env=_environment(world_size),
        )
    assert process.stderr is not None  # noqa: S101 - it is a pipe
    with suppress(OSError):  # it has ended already, which the pool detects
        parent_end.send_bytes(json.dumps(job).encode())
    return WorkerProcess(job["rank"], process, StderrTail(process.stderr), parent_end)


def _environment(world_size: int) -> dict[str, str]:
    """Return the environment of a worker, with the import path of this process."""
    current = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([*([current] if current else []), *(part or str(Path.cwd()) for part in sys.path)])
    threads = str(threads_per_rank(world_size))
    return {"OMP_NUM_THREADS": threads, **os.environ, "PYTHONPATH": path, "LITGPT_QUIET": "1"}


def _exit_reason(code: int) -> str:
    if code >= 0:
        return f"it ended with status {code}"
    if code == -signal.SIGKILL:
        return f"it was ended by signal {-code} (SIGKILL), possibly because memory ran out"
    try:
        return f"it was ended by signal {-code} ({signal.Signals(-code).name})"
    except ValueError:  # real-time signals have no names
        return f"it was ended by signal {-code}"
