"""The worker ranks of a model: processes that the caller's process starts, monitors and ends.

Each runs `python -m litgpt.worker`, so the caller's script is not run again, and notebooks and the REPL work.
The system closes the socket between two processes when one ends. Workers therefore need no heartbeat, and may
be stopped or busy for any length of time.
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
# A longer interval between two polls means that this process was stopped or the machine suspended, which does
# not count towards the timeout.
_POLL_SECONDS = 1.0


class WorkerPool:
    """The worker ranks of one model.

    Args:
        job: The job of each worker, without its rank.
        world_size: The number of ranks, including the caller's.
        timeout: The timeout of one collective, in seconds, after which all workers are ended. Time in which
            this process or a worker is stopped does not count.

    Attributes:
        caller_pid: The id of the process that started the workers; its forks cannot use them.

    Raises:
        UnsupportedOperation: The system is not POSIX.
        WorkerLost: A worker did not start.
    """

    def __init__(self, job: Mapping[str, Any], *, world_size: int, timeout: float = 600.0) -> None:
        self.caller_pid = os.getpid()
        self.timeout = timeout
        self._lock = threading.Lock()
        self._turn = threading.RLock()
        self._stepping: int | None = None  # the id of the thread that runs the current step
        self._communicator: GlooCommunicator | None = None
        self._reconnect: Callable[[int], object] | None = None
        self._num_reconnects = 0
        self._deferred: deque[bytes] = deque()
        self._lost: WorkerLost | None = None
        self._closed = False
        self.workers = start_workers(job, world_size)
        threading.Thread(target=self._watch, name="litgpt-watch", daemon=True).start()

    def attach(self, communicator: GlooCommunicator, reconnect: Callable[[int], object]) -> None:
        """Use these connections; `reconnect`, if supported, re-establishes them after an unfinished step.

        Its argument is the number of the attempt.
        """
        self._communicator = communicator
        self._reconnect = reconnect if communicator.can_reconnect else None

    def broadcast(self, command: bytes) -> None:
        """Send a command to all workers, which execute commands in order."""
        with self._lock:
            self._check()
            self._send_deferred()
            self._send(command)

    def broadcast_deferred(self, command: bytes) -> None:
        """Send a command to all workers, now or before the next command.

        Made for finalizers, which run at any moment, also during `broadcast`.
        """
        self._deferred.append(command)
        if self._lock.acquire(blocking=False):
            try:
                with suppress(WorkerLost):  # raised by the next `broadcast`
                    self._check()
                    self._send_deferred()
            finally:
                self._lock.release()

    def run_collective(self, work: Callable[[], ResultT]) -> ResultT:
        """Run a function that waits for the other ranks; raise WorkerLost if one is gone."""
        result: futures.Future[ResultT] = futures.Future()

        def run() -> None:
            try:
                result.set_result(work())
            except BaseException as error:  # noqa: BLE001 - raised by result()
                result.set_exception(error)

        # In a separate thread, because waiting for a lost rank cannot be interrupted.
        threading.Thread(target=run, name="litgpt-wait", daemon=True).start()
        while not futures.wait([result], timeout=0.05).done:
            self._check()
        try:
            return result.result()
        except CollectiveError as error:
            raise self._diagnose(error) from error

    @property
    def in_collective(self) -> bool:
        """Whether this thread is running a step on all ranks."""
        return self._stepping == threading.get_ident()

    @contextmanager
    def collective(self, command: bytes) -> Iterator[None]:
        """Send a command to all workers and run the block as rank 0's part of the same step.

        Only one thread runs a step at a time. Nested calls join the current step and send no command. An
        error of this rank is raised unchanged, once all ranks are ready for the next step.

        Raises:
            UnsupportedOperation: This process is a fork of the process that started the workers.
            WorkerLost: A worker is gone, now or during the step.
            WorkerFailed: A worker failed; all ranks are ready for the next step.
        """
        if os.getpid() != self.caller_pid:
            reason = "its workers only serve the process that started them. Load the model in this process."
            raise UnsupportedOperation("Using a tensor-parallel model in a forked process", reason)
        with self._turn:
            if self.in_collective:
                yield
                return
            with defer_sigint():  # an interrupted rank would leave the others waiting
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
        if self._closed or os.getpid() != self.caller_pid:
            return
        # Let another thread finish its step, unless it takes too long.
        acquired = self._turn.acquire(timeout=_SHUTDOWN_SECONDS)
        self._closed = True
        try:
            stop_workers(self.workers)
        finally:
            if acquired:
                self._turn.release()

    def _recover_from(self, error: BaseException) -> None:
        """Make the ranks ready for the next step after a failed one; raise its cause if that is a worker."""
        is_remote = isinstance(error, CollectiveError)
        deadline = time.monotonic() + _DIAGNOSIS_SECONDS
        while is_remote and not (self._lost or self._worker_failure) and time.monotonic() < deadline:
            time.sleep(0.02)
        failed = self._worker_failure or WorkerFailed(None, str(error))
        if self._lost is None:
            self._regroup(str(error) or type(error).__name__)
        if is_remote:
            raise (self._lost or failed) from error

    @property
    def _worker_failure(self) -> WorkerFailed | None:
        steps = ((worker.rank, worker.failed_step) for worker in self.workers)
        return next(
            (WorkerFailed(rank, step[1]) for rank, step in steps if step and step[0] == self._num_reconnects),
            None,
        )

    def _regroup(self, reason: str) -> None:
        """Reconnect all ranks after an unfinished step; if that fails, end the workers."""
        self._num_reconnects += 1
        try:
            if self._reconnect is None:
                raise CollectiveError(f"a step was not finished: {reason}")
            reconnect, attempt = self._reconnect, self._num_reconnects
            self.broadcast(json.dumps({"do": "rejoin", "group": attempt}).encode())
            self.run_collective(lambda: reconnect(attempt))
        except (WorkerLost, RuntimeError) as error:
            if self._lost is None:
                self._shut_down_after(WorkerLost(self.workers[0].rank, str(error).splitlines()[0]))

    def _shut_down_after(self, lost: WorkerLost) -> WorkerLost:
        """End all workers: the remaining ones would wait for the lost one."""
        self._lost = lost
        for worker in self.workers:
            worker.process.kill()
        if self._communicator is not None:
            self._communicator.abort()
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
        """Receive messages of the workers; end all workers when one is lost or the timeout expires."""
        waited, exchanges, last_poll = 0.0, 0, time.monotonic()
        while self._lost is None:
            wait([worker.connection for worker in self.workers], timeout=0.2)
            lost = next((lost for worker in self.workers if (lost := worker.failure()) is not None), None)
            if self._closed:
                return
            before, exchanges, now = exchanges, self._num_exchanges(), time.monotonic()
            is_same = before == exchanges and exchanges % 2 == 1  # still in the collective of the last poll
            is_waiting = is_same and not any(worker.is_stopped for worker in self.workers)
            waited = waited + min(now - last_poll, _POLL_SECONDS) if is_waiting else 0.0
            last_poll = now
            if waited > self.timeout and lost is None:
                lost = WorkerLost(self.workers[0].rank, self._hanging_workers())
            if lost is not None:
                self._shut_down_after(lost)

    def _num_exchanges(self) -> int:
        return 0 if self._communicator is None else self._communicator.num_exchanges

    def _hanging_workers(self) -> str:
        subject = "it" if len(self.workers) == 1 else "it or another rank"
        return f"{subject} did not take part in a step for {self.timeout:g} seconds"

    def _check(self) -> None:
        if self._lost is not None:
            raise self._lost
        if self._closed:
            raise WorkerLost(1, "it was shut down")

    def _diagnose(self, error: Exception) -> WorkerLost:
        """Return the loss that the monitor thread detects; if it detects none, one caused by `error`."""
        deadline = time.monotonic() + _DIAGNOSIS_SECONDS
        while self._lost is None and time.monotonic() < deadline:
            time.sleep(0.02)
        if self._lost is not None:
            return self._lost
        cause = (str(error) or type(error).__name__).splitlines()[0]
        return self._shut_down_after(WorkerLost(self.workers[0].rank, f"the step was not finished: {cause}"))
