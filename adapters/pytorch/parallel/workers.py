"""Processes that are the other ranks: how they are started and ended, and what became of each."""

import json
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, Listener
from typing import IO, Any

import attrs

from litgpt.domain.errors import WorkerLost

_TO_START = 120.0
_TO_END = 5.0
# How much is kept of what a worker writes to its standard error.
_TAIL = 8192


@attrs.define(eq=False)
class Worker:
    """One of the other ranks.

    Attributes:
        rank: Which.
        process: Its process.
        stderr: What it wrote last to its standard error.
        line: What is said to it and by it.
        silent: For how many seconds nothing was heard of it while this process was awake.
        said: What it said went wrong, before it ended.
        failed: In which group it could not finish a step, and why; it is alive.

    """

    rank: int
    process: subprocess.Popen[bytes]
    stderr: "Tail"
    line: Connection | None = None
    silent: float = 0.0
    said: str | None = None
    failed: tuple[int, str] | None = None

    def cause(self, patience: float) -> str | None:
        """Return what became of it; None if it is well."""
        code = self.process.poll()
        if self.said is not None:
            return self.said
        if code is not None and code < 0:
            return f"it was ended by signal {-code}"
        if code is not None:
            return f"it ended with status {code}{self.stderr.last_line(': ')}"
        if self.silent > patience:
            return f"nothing was heard of it for {patience:.0f} seconds"
        return None

    def hear(self, message: Mapping[str, Any]) -> None:
        """Take note of an error: one that ends it, or one within a step."""
        if "group" in message:
            self.failed = message["group"], message["error"]
        else:
            self.said = message["error"]


class Tail:
    """The end of what a stream says, read as it comes: a full pipe would stop who writes to it.

    Args:
        stream: Which; it is closed at its end.

    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._kept = b""
        self._thread = threading.Thread(target=self._read, args=(stream,), name="litgpt-stderr", daemon=True)
        self._thread.start()

    def last_line(self, before: str = "") -> str:
        """Return the last line, after `before`; nothing if there is none."""
        self._thread.join(1.0)  # of a process that has ended, the rest comes at once
        lines = self._kept.decode(errors="replace").split("\n")
        return next((before + line.strip() for line in reversed(lines) if line.strip()), "")

    def _read(self, stream: IO[bytes]) -> None:
        with stream, suppress(OSError):
            while some := os.read(stream.fileno(), 1 << 16):
                self._kept = (self._kept + some)[-_TAIL:]


def threads_each(ranks: int) -> int:
    """Return how many of this machine's cores each of several ranks has."""
    return max(1, (os.cpu_count() or 1) // ranks)


def start_all(job: Mapping[str, Any], ranks: int) -> list[Worker]:
    """Return the other ranks, each of which has called back.

    Args:
        job: What each is told, besides its rank.
        ranks: How many ranks there are, the caller's own among them.

    Raises:
        WorkerLost: One of them does not start.

    """
    key, workers = secrets.token_bytes(32), list[Worker]()
    with Listener(("127.0.0.1", 0), authkey=key) as listener:
        try:
            for rank in range(1, ranks):
                call = {"port": listener.address[1], "key": key.hex(), "rank": rank, "ranks": ranks, **job}
                workers.append(_start(call, ranks))
            _wait_for_calls(listener, workers)
        except BaseException:
            end_all(workers)
            raise
    return workers


def end_all(workers: Sequence[Worker]) -> None:
    """End workers: their stdin is closed, and those that do not notice are killed."""
    for worker in workers:
        if worker.process.stdin is not None:
            with suppress(OSError):
                worker.process.stdin.close()
    deadline = time.monotonic() + _TO_END
    for worker in workers:
        try:
            worker.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()
        if worker.line is not None:
            worker.line.close()


def _start(call: Mapping[str, Any], ranks: int) -> Worker:
    environment = {"OMP_NUM_THREADS": str(threads_each(ranks)), **os.environ, "LITGPT_QUIET": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "litgpt.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
    )
    assert process.stdin is not None  # noqa: S101 - it is a pipe
    assert process.stderr is not None  # noqa: S101 - as above
    with suppress(BrokenPipeError):  # it has ended already, which is noticed by whoever waits for it
        process.stdin.write(json.dumps(call).encode() + b"\n")
        process.stdin.flush()
    return Worker(call["rank"], process, Tail(process.stderr))


def _wait_for_calls(listener: Listener, workers: Sequence[Worker]) -> None:
    accepted: list[Connection] = []
    waiting = threading.Thread(target=_accept, args=(listener, accepted, len(workers)), daemon=True)
    waiting.start()
    deadline = time.monotonic() + _TO_START
    while waiting.is_alive():
        waiting.join(0.05)
        for worker in workers:
            if worker.process.poll() is not None:
                why = worker.stderr.last_line() or f"it ended with status {worker.process.returncode}"
                raise WorkerLost(worker.rank, f"it did not start: {why}")
        if time.monotonic() > deadline:
            raise WorkerLost(workers[-1].rank, f"it did not start within {_TO_START:.0f} seconds")
    for line in accepted:
        workers[json.loads(line.recv_bytes())["rank"] - 1].line = line


def _accept(listener: Listener, accepted: list[Connection], count: int) -> None:
    while len(accepted) < count:
        try:
            accepted.append(listener.accept())
        except AuthenticationError:
            continue  # somebody else's connection
        except (EOFError, OSError):
            return  # the listener was closed: a worker did not start
