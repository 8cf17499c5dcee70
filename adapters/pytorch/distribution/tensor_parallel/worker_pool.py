"""The other ranks of a model: processes that the caller's own process starts, watches and ends.

Each is a module of its own (`python -m litgpt.worker`), so the caller's script is not run again and a
notebook or a REPL will do. The system says when a process has ended, to both sides: it closes the socket
between them. So a worker need not say that it is alive, and may be stopped, or busy, for as long as it likes.
"""

import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from typing import Any, TypeVar

from litgpt.adapters.pytorch.distribution.tensor_parallel.communicator import (
    CollectiveError,
    GlooCommunicator,
)
from litgpt.adapters.pytorch.distribution.tensor_parallel.defer_sigint import defer_sigint
from litgpt.adapters.pytorch.distribution.tensor_parallel.worker_process import start_workers, stop_workers
from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.generation.errors import WorkerFailed, WorkerLost

ResultT = TypeVar("ResultT")

_SHUTDOWN_SECONDS = 5.0
_DIAGNOSIS_SECONDS = 5.0
# A longer pause between two looks at the workers means that this process was stopped or the machine asleep,
# which does not count as waiting for them.
_POLL_SECONDS = 1.0


class WorkerPool:
    """The other ranks of one model.

    Args:
        job: What each worker is told, besides its rank.
        ranks: How many ranks there are, the caller's own among them.
        timeout: Seconds that this rank waits for the others within one exchange before they are taken to
            hang, and are ended. Those in which this process or a worker is stopped do not count.

    Attributes:
        caller_thread: The process that these are the workers of; a fork of it has none.
        communicator: What the ranks exchange by, once they have met.
        reconnect: Makes the connections between the ranks anew, given how often that was done, after a step
            that
            a rank did not finish: the others may still wait for it. None: they cannot be made anew.

    Raises:
        OutOfReach: This system cannot start them so.
        WorkerLost: One of them does not start.

    """

    def __init__(self, job: Mapping[str, Any], *, world_size: int, timeout: float = 600.0) -> None:
        self.caller_thread = os.getpid()
        self.timeout = timeout
        self._lock = threading.Lock()
        self._turn = threading.RLock()
        self._stepping: int | None = None  # the thread whose step it is
        self.communicator: GlooCommunicator | None = None
        self.reconnect: Callable[[int], object] | None = None
        self._num_reconnects = 0
        self._deferred: deque[bytes] = deque()
        self._lost: WorkerLost | None = None
        self._closed = False
        self.workers = start_workers(job, world_size)
        threading.Thread(target=self._watch, name="litgpt-watch", daemon=True).start()

    def broadcast(self, command: bytes) -> None:
        """Tell all workers to do something. They do one thing after another.

        Raises:
            WorkerLost: One of them is gone.

        """
        with self._lock:
            self._check()
            self._send_deferred()
            self._send(command)

    def broadcast_deferred(self, command: bytes) -> None:
        """Tell all workers to do something now or before the next thing that they are told, as it may be.

        Made for what may happen at any moment, within `tell` too: that memory is no longer wanted.
        """
        self._deferred.append(command)
        if self._lock.acquire(blocking=False):
            try:
                with suppress(WorkerLost):  # whoever asks for something is told
                    self._check()
                    self._send_deferred()
            finally:
                self._lock.release()

    def run_collective(self, work: Callable[[], ResultT]) -> ResultT:
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
        except CollectiveError as error:
            raise self._diagnose(error) from error

    @property
    def in_collective(self) -> bool:
        """Whether all ranks are in a step of this thread's."""
        return self._stepping == threading.get_ident()

    @contextmanager
    def collective(self, command: bytes) -> Iterator[None]:
        """Tell all workers to do something that this rank does too, and not without them.

        One thread does so at a time. What is done within is a part of it, and nobody is told of that. An
        error of this rank's own is raised as it is, once the ranks are ready for the next thing.

        Raises:
            OutOfReach: This is a fork of the process that has the workers.
            WorkerLost: One of them is gone, now or while it is done.
            WorkerFailed: One of them could not do it. All are ready for the next thing.

        """
        if os.getpid() != self.caller_thread:
            reason = "its ranks answer the process that started them. Load the model in this process."
            raise UnsupportedOperation("Using a model that is split over ranks in a forked process", reason)
        with self._turn:
            if self.in_collective:
                yield
                return
            with defer_sigint():  # a rank that stopped half-way would leave the others waiting
                self.broadcast(command)
                self._stepping = threading.get_ident()
                try:
                    yield
                    self._check()
                except BaseException as error:
                    self._recover_from(error)
                    raise
                finally:
                    self._stepping = None

    def close(self) -> None:
        """End all workers."""
        if self._closed or os.getpid() != self.caller_thread:
            return
        # What another thread is doing with the workers is finished, unless it takes too long.
        mine = self._turn.acquire(timeout=_SHUTDOWN_SECONDS)
        self._closed = True
        try:
            stop_workers(self.workers)
        finally:
            if mine:
                self._turn.release()

    def _recover_from(self, error: BaseException) -> None:
        """Make the ranks ready for the next step, after one that `error` has ended here.

        Raises:
            WorkerLost: The error comes of a worker that is gone.
            WorkerFailed: The error comes of a worker that could not do its part.

        """
        of_others = isinstance(error, CollectiveError)
        deadline = time.monotonic() + _DIAGNOSIS_SECONDS
        while of_others and not (self._lost or self._worker_failure) and time.monotonic() < deadline:
            time.sleep(0.02)
        failed = self._worker_failure or WorkerFailed(None, str(error))
        if self._lost is None:
            self._regroup(str(error) or type(error).__name__)
        if of_others:
            raise (self._lost or failed) from error

    @property
    def _worker_failure(self) -> WorkerFailed | None:
        """What a worker said of a step that it could not finish."""
        said = ((worker.rank, worker.failed_step) for worker in self.workers)
        return next(
            (WorkerFailed(rank, one[1]) for rank, one in said if one and one[0] == self._num_reconnects), None
        )

    def _regroup(self, reason: str) -> None:
        """Let all ranks leave the step that was not finished; if that cannot be, end the workers."""
        self._num_reconnects += 1
        try:
            if self.reconnect is None:
                raise CollectiveError(f"a step was not finished: {reason}")
            rejoin, number = self.reconnect, self._num_reconnects
            self.broadcast(json.dumps({"do": "rejoin", "group": number}).encode())
            self.run_collective(lambda: rejoin(number))
        except (WorkerLost, RuntimeError) as error:
            if self._lost is None:
                self._shut_down_after(WorkerLost(self.workers[0].rank, str(error).splitlines()[0]))

    def _shut_down_after(self, lost: WorkerLost) -> WorkerLost:
        """End all workers because of one: the others would wait for it."""
        self._lost = lost
        for other in self.workers:
            other.process.kill()
        if self.communicator is not None:
            self.communicator.abort()
        return lost

    def _send(self, command: bytes) -> None:
        for worker in self.workers:
            try:
                worker.connection.send_bytes(command)
            except OSError as error:
                raise self._diagnose(error) from error

    def _send_deferred(self) -> None:
        while self._deferred:
            self._send(self._deferred.popleft())

    def _watch(self) -> None:
        """Hear the workers, and end all of them when one is gone: the others would wait for it."""
        waited, at, looked = 0.0, 0, time.monotonic()
        while self._lost is None:
            wait([worker.connection for worker in self.workers], timeout=0.2)
            lost = next((lost for worker in self.workers if (lost := worker.failure()) is not None), None)
            if self._closed:
                return
            before, at, now = at, self._num_exchanges(), time.monotonic()
            same = before == at and at % 2 == 1  # within the exchange that it was in the last time
            counts = same and not any(worker.is_stopped for worker in self.workers)
            waited = waited + min(now - looked, _POLL_SECONDS) if counts else 0.0
            looked = now
            if waited > self.timeout and lost is None:
                lost = WorkerLost(self.workers[0].rank, self._hanging_workers())
            if lost is not None:
                self._shut_down_after(lost)

    def _num_exchanges(self) -> int:
        return 0 if self.communicator is None else self.communicator.num_exchanges

    def _hanging_workers(self) -> str:
        which = "it" if len(self.workers) == 1 else "it or another rank"
        return f"{which} did not take part in a step for {self.timeout:g} seconds"

    def _check(self) -> None:
        if self._lost is not None:
            raise self._lost
        if self._closed:
            raise WorkerLost(1, "it was told to end")

    def _diagnose(self, error: Exception) -> WorkerLost:
        """Return which worker is gone, as soon as the one who watches knows; if all are well, what broke."""
        deadline = time.monotonic() + _DIAGNOSIS_SECONDS
        while self._lost is None and time.monotonic() < deadline:
            time.sleep(0.02)
        if self._lost is not None:
            return self._lost
        first = (str(error) or type(error).__name__).splitlines()[0]
        return self._shut_down_after(WorkerLost(self.workers[0].rank, f"the step was not finished: {first}"))
