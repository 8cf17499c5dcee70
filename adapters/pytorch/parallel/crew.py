"""The other ranks of a model: processes that the caller's own process starts, watches and ends.

Each is a module of its own (`python -m litgpt.worker`), so the caller's script is not run again and a
notebook or a REPL will do. A worker ends when its stdin is closed: by its caller, or because that is gone.
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

from litgpt.adapters.pytorch.parallel.group import CollectiveError
from litgpt.adapters.pytorch.parallel.interruptions import uninterrupted
from litgpt.adapters.pytorch.parallel.workers import end_all, start_all
from litgpt.domain.computing_errors import WorkerFailed
from litgpt.domain.errors import OutOfReach, WorkerLost

ResultT = TypeVar("ResultT")

BEAT = b"."
"""What a worker sends twice a second as long as it is alive."""

_TO_END = 5.0
_TO_KNOW = 5.0
# A longer pause between two looks at the workers means that this process was stopped or the machine asleep,
# and the workers with it: it does not count as their silence.
_PAUSE = 1.0


class Crew:
    """The other ranks of one model.

    Args:
        job: What each worker is told, besides its rank.
        ranks: How many ranks there are, the caller's own among them.
        patience: Seconds of silence after which a worker is taken to hang, and is ended. Those in which this
            process itself was stopped do not count.

    Attributes:
        caller: The process that these are the workers of; a fork of it has none.
        when_lost: Called when a worker is gone, by the one who watches.
        rejoin: Makes the connections between the ranks anew, given how often that was done, after a step that
            a rank did not finish: the others may still wait for it. None: they cannot be made anew.

    Raises:
        WorkerLost: One of them does not start.

    """

    def __init__(self, job: Mapping[str, Any], *, ranks: int, patience: float = 10.0) -> None:
        self.caller = os.getpid()
        self.patience = patience
        self._lock = threading.Lock()
        self._turn = threading.RLock()
        self._stepping: int | None = None  # the thread whose step it is
        self.when_lost: Callable[[], object] | None = None
        self.rejoin: Callable[[int], object] | None = None
        self._group = 0
        self._later: deque[bytes] = deque()
        self._lost: WorkerLost | None = None
        self._closed = False
        self.workers = start_all(job, ranks)
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

    @property
    def is_together(self) -> bool:
        """Whether all ranks are in a step of this thread's."""
        return self._stepping == threading.get_ident()

    @contextmanager
    def together(self, command: bytes) -> Iterator[None]:
        """Tell all workers to do something that this rank does too, and not without them.

        One thread does so at a time. What is done within is a part of it, and nobody is told of that. An
        error of this rank's own is raised as it is, once the ranks are ready for the next thing.

        Raises:
            OutOfReach: This is a fork of the process that has the workers.
            WorkerLost: One of them is gone, now or while it is done.
            WorkerFailed: One of them could not do it. All are ready for the next thing.

        """
        if os.getpid() != self.caller:
            reason = "its ranks answer the process that started them. Load the model in this process."
            raise OutOfReach("Using a model that is split over ranks in a forked process", reason)
        with self._turn:
            if self.is_together:
                yield
                return
            with uninterrupted():  # a rank that stopped half-way would leave the others waiting
                self.tell(command)
                self._stepping = threading.get_ident()
                try:
                    yield
                    self._check()
                except BaseException as error:
                    self._go_on_after(error)
                    raise
                finally:
                    self._stepping = None

    def close(self) -> None:
        """End all workers."""
        if self._closed or os.getpid() != self.caller:
            return
        # What another thread is doing with the workers is finished, unless it takes too long.
        mine = self._turn.acquire(timeout=_TO_END)
        self._closed = True
        try:
            end_all(self.workers)
        finally:
            if mine:
                self._turn.release()

    def _go_on_after(self, error: BaseException) -> None:
        """Make the ranks ready for the next step, after one that `error` has ended here.

        Raises:
            WorkerLost: The error comes of a worker that is gone.
            WorkerFailed: The error comes of a worker that could not do its part.

        """
        of_others = isinstance(error, CollectiveError)
        deadline = time.monotonic() + _TO_KNOW
        while of_others and not (self._lost or self._failed) and time.monotonic() < deadline:
            time.sleep(0.02)
        failed = self._failed or WorkerFailed(None, str(error))
        if self._lost is None:
            self._regroup(str(error) or type(error).__name__)
        if of_others:
            raise (self._lost or failed) from error

    @property
    def _failed(self) -> WorkerFailed | None:
        """What a worker said of a step that it could not finish."""
        said = ((worker.rank, worker.failed) for worker in self.workers)
        return next((WorkerFailed(rank, one[1]) for rank, one in said if one and one[0] == self._group), None)

    def _regroup(self, why: str) -> None:
        """Let all ranks leave the step that was not finished; if that cannot be, end the workers."""
        self._group += 1
        try:
            if self.rejoin is None:
                raise CollectiveError(f"a step was not finished: {why}")
            rejoin, group = self.rejoin, self._group
            self.tell(json.dumps({"do": "rejoin", "group": group}).encode())
            self.wait_for(lambda: rejoin(group))
        except (WorkerLost, RuntimeError) as error:
            if self._lost is None:
                self._lose(WorkerLost(self.workers[0].rank, str(error).splitlines()[0]))

    def _lose(self, lost: WorkerLost) -> WorkerLost:
        """End all workers because of one: the others would wait for it."""
        self._lost = lost
        for other in self.workers:
            other.process.kill()
        if self.when_lost is not None:
            self.when_lost()
        return lost

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

    def _watch(self) -> None:
        """Hear the workers, and end all of them when one is gone: the others would wait for it."""
        lines = {worker.line: worker for worker in self.workers if worker.line is not None}
        looked = time.monotonic()
        while not self._closed and self._lost is None:
            heard = wait(list(lines), timeout=0.2)
            now = time.monotonic()
            for worker in self.workers:
                worker.silent += min(now - looked, _PAUSE)
            looked = now
            for line in heard:
                worker = lines[line]  # type: ignore[index] # these are the lines that were waited for
                try:
                    said = worker.line.recv_bytes() if worker.line is not None else BEAT
                except (EOFError, OSError):
                    del lines[line]  # type: ignore[arg-type] # as above
                    continue
                worker.silent = 0.0
                if said != BEAT:
                    worker.hear(json.loads(said))
            for worker in self.workers:
                cause = worker.cause(self.patience)
                if cause is not None and not self._closing():
                    self._lose(WorkerLost(worker.rank, cause))
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
        if self._lost is not None:
            return self._lost
        first = (str(error) or type(error).__name__).splitlines()[0]
        return self._lose(WorkerLost(self.workers[0].rank, f"the step was not finished: {first}"))
