"""An engine that several threads use: the requests of all of them run in one batch."""

import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import attrs

from litgpt.domain.generation.batching import count_requests, numbered_requests
from litgpt.domain.generation.errors import ModelBusy, NonFiniteLogits
from litgpt.domain.generation.request import GenerationRequest, TokenEvent
from litgpt.domain.scheduling.engine import Engine
from litgpt.domain.scheduling.events import EngineEvent, FailedRequest

_MAX_QUEUED = 64
"""The requests that a stream has in the engine besides the running ones, so that none of them has to wait."""


@attrs.define(eq=False)
class _Mailbox:
    """The events of one stream that were not read yet, and its requests.

    Attributes:
        indices: The engine's index of each request, by the number that it has in the stream.
        unfinished: The numbers of the requests that may have more events.
    """

    events: deque[EngineEvent] = attrs.field(factory=deque)
    indices: dict[int, int] = attrs.field(factory=dict)
    unfinished: set[int] = attrs.field(factory=set)

    @property
    def is_ready(self) -> bool:
        return bool(self.events) or not self.unfinished


class SharedEngine:
    """Adds the requests of streams to an engine, and delivers its events.

    It needs no thread: one of the threads that wait for an event computes the next step for all.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # Reentrant, because the garbage collector may close a stream at any time.
        self._state = threading.Condition(threading.RLock())
        self._inbox: deque[tuple[_Mailbox, int, GenerationRequest | None]] = deque()
        self._owners: dict[int, tuple[_Mailbox, int]] = {}
        self._events: deque[EngineEvent] = deque()  # of the last step, not delivered yet
        self._is_busy = False
        self._thread = 0  # that computes a step
        self._process = os.getpid()

    @property
    def max_sequences(self) -> int:
        return self._engine.scheduler.limits.max_sequences

    def add(self, mailbox: _Mailbox, number: int, request: GenerationRequest) -> None:
        mailbox.unfinished.add(number)
        self._inbox.append((mailbox, number, request))

    def cancel(self, mailbox: _Mailbox, number: int) -> None:
        """End a request before the next step."""
        self._inbox.append((mailbox, number, None))

    def wait(self, mailbox: _Mailbox) -> None:
        """Compute steps, or wait while another thread does, until there is an event or all are finished."""
        while not mailbox.is_ready:
            with self._state:
                if self._is_busy and self._process == os.getpid():
                    self._wait_for_step()
                    continue
                if mailbox.is_ready:
                    return
                self._begin()
            try:
                self._read_inbox()
                if not self._events:
                    self._events.extend(self._engine.step())
                while self._events:
                    self._deliver(self._events[0])
                    self._events.popleft()  # last: an interrupt must not lose another thread's event
            except BaseException:
                self._engine.restart()
                raise
            finally:
                self._release()
        if self._inbox:
            self.flush()

    def flush(self, *, keeps_prefixes: bool = True) -> None:
        """Free the memory of cancelled requests, unless a step is being computed, which does it."""
        with self._state:
            if self._is_busy:
                return
            self._begin()
        try:
            self._read_inbox(keeps_prefixes=keeps_prefixes)
        finally:
            self._release()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Compute no step within the block."""
        with self._state:
            while self._is_busy and self._process == os.getpid():
                self._wait_for_step()
            self._begin()
        try:
            yield
        finally:
            self._release()

    def close(self) -> None:
        """End all requests and free the KV cache."""
        with self.exclusive():
            self._read_inbox()
            for index in list(self._owners):
                self._finish(index)
            self._engine.close()

    def _begin(self) -> None:
        self._is_busy, self._process, self._thread = True, os.getpid(), threading.get_ident()

    def _wait_for_step(self) -> None:
        if self._thread == threading.get_ident():
            raise ModelBusy(
                "Generating",
                "it was called by a function that a step of this model calls. Call it between answers.",
            )
        self._state.wait()

    def _release(self) -> None:
        with self._state:
            self._is_busy = False
            self._state.notify_all()

    def _read_inbox(self, *, keeps_prefixes: bool = True) -> None:
        while self._inbox:
            mailbox, number, added = self._inbox[0]
            if added is not None:
                if number not in mailbox.indices:
                    self._add(mailbox, number, added)
            elif (index := mailbox.indices.get(number, -1)) in self._owners:
                self._engine.cancel(index, keeps_prefix=keeps_prefixes)
                self._finish(index)
            self._inbox.popleft()

    def _add(self, mailbox: _Mailbox, number: int, request: GenerationRequest) -> None:
        try:
            index = self._engine.add(request)
        except Exception as error:  # noqa: BLE001 - raised in the thread of the request
            mailbox.events.append(FailedRequest(number, error, request.prompt))
            mailbox.unfinished.discard(number)
        else:
            mailbox.indices[number], self._owners[index] = index, (mailbox, number)

    def _deliver(self, event: EngineEvent) -> None:
        owner = self._owners.get(event.index)
        if owner is None:  # cancelled
            return
        mailbox, number = owner
        mailbox.events.append(attrs.evolve(event, index=number))
        if isinstance(event, FailedRequest) or event.finish_reason is not None:
            self._finish(event.index)

    def _finish(self, index: int) -> None:
        mailbox, number = self._owners.pop(index)
        del mailbox.indices[number]
        mailbox.unfinished.discard(number)


class EngineStream(Iterator[TokenEvent]):
    """Implements the port `Generation`: the events of requests that run in a shared engine.

    Args:
        requests: Valid requests; an iterator is read as earlier ones finish, and yields None if none is
            ready.
    """

    def __init__(self, engine: SharedEngine, requests: Iterable[GenerationRequest | None]) -> None:
        self._engine, self._num_prompts = engine, count_requests(requests)
        self._requests = numbered_requests(requests)
        # The engine does not reference this object, which ends its requests when it is garbage-collected.
        self._mailbox = _Mailbox()
        self._cancelled: set[int] = set()
        self._last_taken = -1
        self._error: Exception | None = None  # of the iterator, raised after the earlier events

    def __next__(self) -> TokenEvent:
        try:
            return self._next_event()
        except BaseException:  # StopIteration or an error: no more tokens follow
            self.close()
            raise

    def cancel(self, index: int) -> None:
        self._cancelled.add(index)
        self._engine.cancel(self._mailbox, index)

    def close(self) -> None:
        self._end()

    def __del__(self) -> None:
        self._end(keeps_prefixes=False)  # the garbage collector may run within another computation

    def _end(self, *, keeps_prefixes: bool = True) -> None:
        self._requests = iter(())
        for number in list(self._mailbox.unfinished):
            self._engine.cancel(self._mailbox, number)
        self._mailbox = _Mailbox()  # the step that another thread computes delivers its events to the old one
        self._engine.flush(keeps_prefixes=keeps_prefixes)

    def locate_non_finite(self, tokens: Sequence[int]) -> str | None:  # noqa: ARG002 - of subclasses
        """Return where the first NaN or infinite value of a sequence arises; None: unknown."""
        return None

    def _next_event(self) -> TokenEvent:
        mailbox = self._mailbox
        while True:
            self._add_requests()
            self._forget_cancelled()
            self._engine.wait(mailbox)
            if not mailbox.events:
                error, self._error = self._error, None
                raise error or StopIteration
            event = mailbox.events.popleft()
            if isinstance(event, FailedRequest):
                raise self._failure([event, *(it for it in mailbox.events if isinstance(it, FailedRequest))])
            if event.index not in self._cancelled:
                return event

    def _add_requests(self) -> None:
        while len(self._mailbox.unfinished) < self._engine.max_sequences + _MAX_QUEUED:
            try:
                taken = next(self._requests, None)
            except Exception as error:  # noqa: BLE001 - raised by __next__
                self._error, self._requests = error, iter(())
                return
            if taken is None:
                return
            number, request = taken
            self._last_taken = number
            if number not in self._cancelled:
                self._engine.add(self._mailbox, number, request)

    def _forget_cancelled(self) -> None:
        """Drop the numbers of cancelled requests that get no more events, as a stream may have millions."""
        if not self._cancelled:
            return
        unfinished = self._mailbox.unfinished
        ended = [it for it in list(self._cancelled) if it not in unfinished and it <= self._last_taken]
        if not self._mailbox.events:  # all events of the others have been read
            self._cancelled.difference_update(ended)

    def _failure(self, failed: Sequence[FailedRequest]) -> BaseException:
        """Return the first error; it names all rows whose logits were not finite in that step."""
        error = failed[0].error
        if isinstance(error, NonFiniteLogits):
            rows = sorted(it.index for it in failed if isinstance(it.error, NonFiniteLogits))
            where = self.locate_non_finite(failed[0].tokens)
            error = attrs.evolve(error, rows=rows, num_prompts=self._num_prompts, where=where)
        return error
