"""The other ranks of a model: processes that the caller's own process starts, watches and ends.

Each is a module of its own (`python -m litgpt.worker`), so the caller's script is not run again and a
notebook or a REPL will do. A worker ends when it is told to, and when its caller is gone: it notices that
its stdin is closed.
"""

import json
import secrets
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, Listener, wait
from typing import Any, TypeVar

from litgpt.adapters.pytorch.parallel.interruptions import uninterrupted
from litgpt.adapters.pytorch.parallel.workers import Worker, last_words, start
from litgpt.domain.errors import LitGPTError, WorkerLost

ResultT = TypeVar("ResultT")

BEAT = b"."
"""What a worker sends twice a second as long as it is alive."""

_TO_START = 120.0
_TO_END = 5.0
_TO_KNOW = 5.0


class Crew:
    """The other ranks of one model.

    Args:
        job: What each worker is told, besides its rank.
        ranks: How many ranks there are, the caller's own among them.
        patience: Seconds of silence after which a worker is taken to hang, and is ended.

    Attributes:
        is_together: Whether all ranks are doing something now.
        when_lost: Called when a worker is gone, by the one who watches.

    Raises:
        WorkerLost: One of them does not start.

    """

    def __init__(self, job: Mapping[str, Any], *, ranks: int, patience: float = 10.0) -> None:
        self.patience = patience
        self._lock = threading.Lock()
        self._turn = threading.RLock()
        self.is_together = False
        self.when_lost: Callable[[], object] | None = None
        self._later: deque[bytes] = deque()
        self._lost: WorkerLost | None = None
        self._closed = False
        self.workers: list[Worker] = []
        key = secrets.token_bytes(32)
        listener = Listener(("127.0.0.1", 0), authkey=key)
        try:
            for rank in range(1, ranks):
                call = {"port": listener.address[1], "key": key.hex(), "rank": rank, "ranks": ranks, **job}
                self.workers.append(Worker(rank, start(call, ranks)))
            self._answer(listener)
        except BaseException:
            self.close()
            raise
        finally:
            listener.close()
        threading.Thread(target=self._watch, name="litgpt-watch", daemon=True).start()

    def tell(self, command: bytes) -> None:
        """Tell all workers to do something. They do one thing after another.

        Raises:
            WorkerLost: One of them is gone.

        """
        with self._lock:
            self._check()
            self._send_later()
            self._send(command)

    def tell_later(self, command: bytes) -> None:
        """Tell all workers to do something now or before the next thing that they are told, as it may be.

        Made for what may happen at any moment, within `tell` too: that memory is no longer wanted.
        """
        self._later.append(command)
        if self._lock.acquire(blocking=False):
            try:
                with suppress(WorkerLost):  # whoever asks for something is told
                    self._check()
                    self._send_later()
            finally:
                self._lock.release()

    def wait_for(self, work: Callable[[], ResultT]) -> ResultT:
        """Return what `work` returns, which waits for the other ranks.

        Raises:
            WorkerLost: One of them is gone, or goes meanwhile.

        """
        found: futures.Future[ResultT] = futures.Future()

        def run() -> None:
            try:
                found.set_result(work())
            except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
                found.set_exception(error)

        # A thread of its own: one that waits for a rank that never comes cannot be interrupted.
        threading.Thread(target=run, name="litgpt-wait", daemon=True).start()
        while not futures.wait([found], timeout=0.05).done:
            self._check()
        try:
            return found.result()
        except RuntimeError as error:
            raise self._found_lost(error) from error

    @contextmanager
    def together(self, command: bytes) -> Iterator[None]:
        """Tell all workers to do something that this rank does too, and not without them.

        One thread does so at a time. What is done within is a part of it, and nobody is told of that.

        Raises:
            WorkerLost: One of them is gone, now or while it is done.

        """
        with self._turn:
            if self.is_together:
                yield
                return
            with uninterrupted():  # a rank that stopped half-way would leave the others waiting
                self.tell(command)
                self.is_together = True
                try:
                    yield
                    if self._lost is not None:
                        raise self._lost
                except LitGPTError:
                    raise
                except RuntimeError as error:
                    raise self._found_lost(error) from error
                finally:
                    self.is_together = False

    def close(self) -> None:
        """End all workers: they are told to, and are ended if they do not."""
        if self._closed:
            return
        self._closed = True
        for worker in self.workers:
            try:
                if worker.line is not None:
                    worker.line.send_bytes(b'{"do": "end"}')
            except OSError:
                pass
            if worker.process.stdin is not None:
                worker.process.stdin.close()
        deadline = time.monotonic() + _TO_END
        for worker in self.workers:
            try:
                worker.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            if worker.line is not None:
                worker.line.close()
            if worker.process.stderr is not None:
                worker.process.stderr.close()

    def _send(self, command: bytes) -> None:
        for worker in self.workers:
            try:
                assert worker.line is not None  # noqa: S101 - it answered when it was started
                worker.line.send_bytes(command)
            except OSError as error:
                raise self._found_lost(error) from error

    def _send_later(self) -> None:
        while self._later:
            self._send(self._later.popleft())

    def _answer(self, listener: Listener) -> None:
        """Wait until every worker has called."""
        accepted: list[Connection] = []
        waiting = threading.Thread(target=_accept, args=(listener, accepted, len(self.workers)), daemon=True)
        waiting.start()
        deadline = time.monotonic() + _TO_START
        while waiting.is_alive():
            waiting.join(0.05)
            for worker in self.workers:
                if worker.process.poll() is not None:
                    raise WorkerLost(worker.rank, f"it did not start: {last_words(worker.process)}")
            if time.monotonic() > deadline:
                raise WorkerLost(self.workers[-1].rank, f"it did not start within {_TO_START:.0f} seconds")
        for line in accepted:
            rank = json.loads(line.recv_bytes())["rank"]
            self.workers[rank - 1].line = line
            self.workers[rank - 1].heard = time.monotonic()

    def _watch(self) -> None:
        """Hear the workers, and end all of them when one is gone: the others would wait for it."""
        lines = {worker.line: worker for worker in self.workers if worker.line is not None}
        while not self._closed and self._lost is None:
            for line in wait(list(lines), timeout=0.2):
                worker = lines[line]  # type: ignore[index] # these are the lines that were waited for
                try:
                    said = worker.line.recv_bytes() if worker.line is not None else BEAT
                except (EOFError, OSError):
                    del lines[line]  # type: ignore[arg-type] # as above
                    continue
                worker.heard = time.monotonic()
                if said != BEAT:
                    worker.said = json.loads(said)["error"]
            for worker in self.workers:
                cause = worker.cause(self.patience)
                if cause is not None and not self._closing():
                    self._lost = WorkerLost(worker.rank, cause)
                    for other in self.workers:
                        other.process.kill()
                    if self.when_lost is not None:
                        self.when_lost()
                    break

    def _closing(self) -> bool:
        return self._closed

    def _check(self) -> None:
        if self._lost is not None:
            raise self._lost
        if self._closed:
            raise WorkerLost(1, "it was told to end")

    def _found_lost(self, error: Exception) -> WorkerLost:
        """Return which worker is gone, as soon as the one who watches knows; if all are well, what broke."""
        deadline = time.monotonic() + _TO_KNOW
        while self._lost is None and time.monotonic() < deadline:
            time.sleep(0.02)
        if self._lost is None:
            first = (str(error) or type(error).__name__).splitlines()[0]
            self._lost = WorkerLost(self.workers[0].rank, f"the step was not finished: {first}")
        return self._lost


def _accept(listener: Listener, accepted: list[Connection], count: int) -> None:
    try:
        accepted.extend(listener.accept() for _ in range(count))
    except OSError:
        return  # the listener was closed: a worker did not start
