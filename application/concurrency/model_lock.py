"""A fair readers-writer lock of one model: generations run concurrently, a change of the model exclusively.

Generation, losses and saving are readers; operations that replace weights are writers. A writer waits until
all active readers have ended, and later readers wait for it, so that each answer is computed with one set of
weights and writers do not starve.

A reader is a `ModelLease` rather than a thread, as a stream may be started in one thread, read in another and
closed by the garbage collector in a third.
"""

import gc
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs

from litgpt.domain.generation.errors import ModelBusy, WorkerLost

# Polling interval in seconds: leases that are garbage-collected do not notify waiting threads.
_POLL_SECONDS = 0.2
# The threads of a pool may read a stream in turns, so the last reader may not be the next. A change in such a
# thread waits this many seconds for another thread to read.
_POOL_THREAD_SECONDS = 1.0

_here = threading.local()
_locks: "weakref.WeakSet[ModelLock]" = weakref.WeakSet()


def this_thread() -> object:
    """Return an identity object of this thread; thread ids are reused after a thread has ended."""
    identity = getattr(_here, "thread", None)
    if identity is None:
        identity = _here.thread = object()
    return identity


@attrs.define(eq=False)
class ModelLease:
    """A shared lock on a model's weights, held by one reader.

    Attributes:
        thread: The thread of the last step.
        step: Held while a token is computed.
        started: The monotonic time in seconds at which the last step ended.
        abandon: Frees the resources of a stream that a writer ends; None: it cannot be ended.
        ended: Whether a writer has ended it; it must not compute further steps.
    """

    thread: object
    step: threading.Lock = attrs.field(factory=threading.Lock)
    started: float = attrs.field(factory=time.monotonic)
    abandon: Callable[[], object] | None = None
    ended: bool = False

    @property
    def is_computing(self) -> bool:
        return self.step.locked()


class ModelLock:
    """The lock of a model; a writer waits `timeout` seconds for streams that are not being read."""

    def __init__(self, timeout: float = 30.0) -> None:
        self.timeout = timeout
        self.version = 0
        # Reentrant, as the garbage collector may close a stream at any time, also within these methods.
        self._state = threading.Condition(threading.RLock())
        # Weak, so that a dropped stream does not hold the lock.
        self._leases: weakref.WeakSet[ModelLease] = weakref.WeakSet()
        self._changer: object = None
        self._queue: list[tuple[bool, object]] = []
        _locks.add(self)

    def __reduce__(self) -> tuple[type["ModelLock"], tuple[float]]:
        return ModelLock, (self.timeout,)  # a copy of a model has its own lock

    def acquire(self) -> ModelLease:
        """Acquire a shared lock, after the writers that are queued already.

        A thread that already holds the lock does not wait, as a queued writer may wait for it (deadlock).
        """
        me = this_thread()
        lease = ModelLease(me)
        with self._state:
            if (self._changer is not None or self._queue) and not self._is_used_by(me):
                with self._in_queue() as ticket:
                    while self._changer is not None or self._changes_before(ticket):
                        self._state.wait(_POLL_SECONDS)
            self._leases.add(lease)
        return lease

    def release(self, lease: ModelLease) -> None:
        """Release a lease; idempotent, and callable from any thread and the garbage collector."""
        with self._state:
            self._leases.discard(lease)
            self._state.notify_all()

    def release_all(self) -> None:
        """Release all leases of a model whose workers are lost, which no stream can use any more."""
        for lease in list(self._leases):
            self.release(lease)

    @contextmanager
    def using(self) -> Iterator[None]:
        lease = self.acquire()
        try:
            with lease.step:
                yield
        except WorkerLost:
            self.release_all()
            raise
        finally:
            self.release(lease)

    @contextmanager
    def changing(self, operation: str, *, ends_answers: bool = False) -> Iterator[None]:
        """Hold an exclusive lock within the block; `operation` names the change in the error.

        With `ends_answers`, unfinished streams of this thread and streams that are not being read end.

        Raises:
            ModelBusy: This thread has an unfinished stream, or other streams were not read for too long.
        """
        me = this_thread()
        if self._changer is me:
            yield
            return
        try:
            with self._state, self._in_queue(change=True) as ticket:
                while not self._may_change(ticket, operation, ends_answers=ends_answers):
                    self._state.wait(min(_POLL_SECONDS, self.timeout))
                self._changer = me
            yield
        finally:
            if self._changer is me:
                self.version += 1
                self._changer = None
                with self._state:
                    self._state.notify_all()

    def _is_used_by(self, thread: object) -> bool:
        return self._changer is thread or any(lease.thread is thread for lease in self._leases)

    def _may_change(self, ticket: object, operation: str, *, ends_answers: bool) -> bool:
        now = time.monotonic()
        own = [lease for lease in self._leases if lease.thread is this_thread()]
        if any(lease.is_computing for lease in own):
            raise ModelBusy(
                operation, "it was called during a step of this model. Call it after the answer is finished."
            )
        if threading.current_thread() is not threading.main_thread():
            own = [lease for lease in own if lease.started < now - min(_POOL_THREAD_SECONDS, self.timeout)]
        if own and not self._settle(own, ends_answers=ends_answers):
            reason = "this thread has an unfinished stream of it. Read the stream to its end or .close() it."
            raise ModelBusy(operation, reason)
        if self._changer is not None or self._queue[0] is not ticket:
            return False
        last = now - self.timeout
        if self._leases and all(not lease.is_computing and lease.started < last for lease in self._leases):
            leases = list(self._leases)
            if not self._settle(leases, ends_answers=ends_answers):
                reason = (
                    f"it has unfinished streams that have not been read for {self.timeout:g} "
                    "seconds. Read each to its end or .close() it."
                )
                raise ModelBusy(operation, reason)
        return not self._leases

    def _settle(self, leases: list[ModelLease], *, ends_answers: bool) -> bool:
        """Collect garbage, end streams if `ends_answers`, and return whether all leases are released."""
        gc.collect()  # closes streams in reference cycles, such as that of an exception
        if ends_answers:
            for lease in leases:
                self._end(lease)
        return not any(lease in self._leases for lease in leases)

    def _end(self, lease: ModelLease) -> None:
        if lease.abandon is None or not lease.step.acquire(blocking=False):
            return
        try:
            lease.ended = True
            lease.abandon()
        finally:
            lease.step.release()
        self.release(lease)

    @contextmanager
    def _in_queue(self, *, change: bool = False) -> Iterator[object]:
        ticket = (change, object())
        try:
            self._queue.append(ticket)
            yield ticket
        finally:
            self._queue = [queued for queued in self._queue if queued is not ticket]
            self._state.notify_all()

    def _changes_before(self, ticket: object) -> bool:
        position = next(at for at, queued in enumerate(self._queue) if queued is ticket)
        return any(change for change, _ in self._queue[:position])

    def forget_other_threads(self) -> None:
        """Reset the lock in a forked process, in which only the forking thread exists."""
        me = this_thread()
        self._state = threading.Condition(threading.RLock())
        self._leases = weakref.WeakSet([lease for lease in self._leases if lease.thread is me])
        self._changer = me if self._changer is me else None
        self._queue = []


def _after_fork() -> None:
    for lock in list(_locks):
        lock.forget_other_threads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
