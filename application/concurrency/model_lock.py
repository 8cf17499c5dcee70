"""The lock of one model: answers run side by side, a change of the model runs alone.

A fair readers-writer lock. Answers, losses and saving are readers; whatever replaces weights is a writer. A
writer waits until all answers under way have ended, and readers that come later wait behind it, so an answer
is computed with one set of weights and a change cannot be put off for ever.

A reader is a `Hold` and not a thread, since a stream may be begun in one thread, read in another and closed
by the garbage collector in a third.
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

# Seconds after which a thread that waits looks again: a use that is garbage tells nobody that it ended.
_POLL_SECONDS = 0.2
# The threads of a pool may read a stream in turns, so the one that read last is not the one that reads on. A
# change in such a thread waits so many seconds for another to read.
_POOL_THREAD_SECONDS = 1.0

_here = threading.local()
_locks: "weakref.WeakSet[ModelLock]" = weakref.WeakSet()


def this_thread() -> object:
    """Return what stands for this thread; thread ids are used again once a thread has ended."""
    found = getattr(_here, "thread", None)
    if found is None:
        found = _here.thread = object()
    return found


@attrs.define(eq=False)
class ModelLease:
    """One use of a model's weights.

    Attributes:
        thread: The thread that computed with it last.
        step: Held while a token is computed.
        started: When the last step ended, in seconds of the monotonic clock.
        abandon: Frees what the use holds, for a stream that `close` ends; None: it cannot be ended.
        ended: Whether it was ended by `close` and must not compute any more.

    """

    thread: object
    step: threading.Lock = attrs.field(factory=threading.Lock)
    started: float = attrs.field(factory=time.monotonic)
    abandon: Callable[[], object] | None = None
    ended: bool = False

    @property
    def is_computing(self) -> bool:
        """Whether a step is in progress."""
        return self.step.locked()


class ModelLock:
    """Who uses a model now, and who waits to change it.

    Args:
        timeout: For how many seconds a change waits for streams from which nobody reads.

    Attributes:
        version: How many changes there were.

    """

    def __init__(self, timeout: float = 30.0) -> None:
        self.timeout = timeout
        self.version = 0
        # Reentrant, since the garbage collector may close a stream at any moment, within these methods too.
        self._state = threading.Condition(threading.RLock())
        # Weak, so that a stream that is dropped is none, however it was dropped.
        self._holds: weakref.WeakSet[ModelLease] = weakref.WeakSet()
        self._changer: object = None
        self._queue: list[tuple[bool, object]] = []
        _locks.add(self)

    def __reduce__(self) -> tuple[type["ModelLock"], tuple[float]]:
        return ModelLock, (self.timeout,)  # a copy of a model has users of its own

    def acquire(self) -> ModelLease:
        """Begin to use the weights, once the changes that were asked for before are done.

        A thread that uses the model already, or changes it, does not wait: the change might wait for it.
        """
        me = this_thread()
        hold = ModelLease(me)
        with self._state:
            if (self._changer is not None or self._queue) and not self._is_used_by(me):
                with self._in_queue() as ticket:
                    while self._changer is not None or self._changes_before(ticket):
                        self._state.wait(_POLL_SECONDS)
            self._holds.add(hold)
        return hold

    def release(self, lease: ModelLease) -> None:
        """End a use. It may be called again, in any thread, and by the garbage collector."""
        with self._state:
            self._holds.discard(lease)
            self._state.notify_all()

    def release_all(self) -> None:
        """End all uses of a model that is lost: streams of it would only raise the same error."""
        for hold in list(self._holds):
            self.release(hold)

    @contextmanager
    def using(self) -> Iterator[None]:
        """Use the weights within the block."""
        hold = self.acquire()
        try:
            with hold.step:
                yield
        except WorkerLost:
            self.release_all()
            raise
        finally:
            self.release(hold)

    @contextmanager
    def changing(self, operation: str, *, ends_answers: bool = False) -> Iterator[None]:
        """Change the model within the block, while nobody else uses it.

        Args:
            operation: The change, for the error.
            ends_answers: Whether streams that this thread has not read to their end, and those from which
                nobody reads, are ended rather than an error.

        Raises:
            Busy: An answer of this thread is under way; or streams of others are, from which nobody has read
                for as long as `patience` says.

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
        return self._changer is thread or any(one.thread is thread for one in self._holds)

    def _may_change(self, ticket: object, operation: str, *, ends_answers: bool) -> bool:
        now = time.monotonic()
        own = [one for one in self._holds if one.thread is this_thread()]
        if any(one.is_computing for one in own):
            raise ModelBusy(
                operation, "it was called from within a step of this model. Call it between answers."
            )
        if threading.current_thread() is not threading.main_thread():
            own = [one for one in own if one.started < now - min(_POOL_THREAD_SECONDS, self.timeout)]
        if own and not self._settle(own, ends_answers=ends_answers):
            reason = "this thread has a stream of it that is not finished. Read it to its end or .close() it."
            raise ModelBusy(operation, reason)
        if self._changer is not None or self._queue[0] is not ticket:
            return False
        last = now - self.timeout
        if self._holds and all(not one.is_computing and one.started < last for one in self._holds):
            left = list(self._holds)
            if not self._settle(left, ends_answers=ends_answers):
                reason = (
                    f"streams of it are not finished, and nobody has read from them for {self.timeout:g} "
                    "seconds. Read each to its end or .close() it."
                )
                raise ModelBusy(operation, reason)
        return not self._holds

    def _settle(self, holds: list[ModelLease], *, ends_answers: bool) -> bool:
        """Return whether none of these uses is left: what is garbage goes, and streams may be ended."""
        gc.collect()  # a stream in a reference cycle, such as that of an exception, is not closed before
        if ends_answers:
            for hold in holds:
                self._end(hold)
        return not any(one in self._holds for one in holds)

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
            self._queue = [one for one in self._queue if one is not ticket]
            self._state.notify_all()

    def _changes_before(self, ticket: object) -> bool:
        before = self._queue[: next(at for at, one in enumerate(self._queue) if one is ticket)]
        return any(change for change, _ in before)

    def forget_other_threads(self) -> None:
        """Go on in a forked process, in which there is only the thread that forked."""
        me = this_thread()
        self._state = threading.Condition(threading.RLock())
        self._holds = weakref.WeakSet([one for one in self._holds if one.thread is me])
        self._changer = me if self._changer is me else None
        self._queue = []


def _after_fork() -> None:
    for lock in list(_locks):
        lock.forget_other_threads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
