"""The thread that runs an engine for a server: requests of all clients join one batch."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress

import attrs

from litgpt.application.serving.errors import EngineStopped, QueueFull, ServerStopping
from litgpt.application.serving.stats import EngineStats, FinishRate
from litgpt.application.serving.ticket import Ticket, TicketOwner
from litgpt.domain.generation.batching import MAX_SEQUENCES
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.scheduling.engine import Engine
from litgpt.domain.scheduling.events import EngineEvent, FailedRequest

Deliver = Callable[[Sequence[tuple[Ticket, EngineEvent]]], object]
"""Receives all events of a step, in the thread of the loop. It must not block."""


class EngineLoop:
    """Computes steps in a thread of its own while there are requests.

    Args:
        open_engine: Returns an engine. It is called when the first request arrives, again after an
            error, also one of this function, and when `version` has changed.
        deliver: Receives the events; the last one of a request has a finish reason or is a `FailedRequest`.
        max_queued: The largest number of requests that wait besides the running ones.
        version: Returns a value that changes with the weights.
        using: Returns a context manager that keeps the weights as they are; entered while there are requests.
    """

    def __init__(
        self,
        open_engine: Callable[[], Engine],
        deliver: Deliver,
        *,
        max_queued: int = 256,
        version: Callable[[], object] = lambda: None,
        using: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self._open_engine, self._deliver, self._max_queued = open_engine, deliver, max_queued
        self._version, self._using = version, using
        self._engine: Engine | None = None
        self._engine_version: object = None
        self._changed = threading.Condition()
        self._added: deque[Ticket] = deque()
        self._cancelled: deque[Ticket] = deque()
        self._tickets: dict[int, Ticket] = {}  # by the engine's index
        self._waiting: dict[int, Ticket] = {}  # those that no step has computed yet
        self._num_unstarted = 0  # in `_added` or `_waiting`
        self._rate = FinishRate()
        self._is_draining = self._is_stopped = False
        self._failure: BaseException | None = None
        self._step_began: float | None = None
        self._totals = EngineStats()
        self._thread = threading.Thread(target=self._run, name="litgpt-engine", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether requests can be computed."""
        return self._failure is None and self._thread.is_alive()

    def submit(self, requests: Sequence[tuple[int, GenerationRequest]], owner: TicketOwner) -> list[Ticket]:
        """Add valid requests with their numbers, all or none of them.

        Raises:
            QueueFull: Too many requests wait.
            ServerStopping: The loop takes no more requests.
            EngineStopped: The engine has failed.
        """
        tickets = [Ticket(request, owner, number) for number, request in requests]
        with self._changed:
            if not self.is_alive:
                raise EngineStopped(self._failure)
            if self._is_draining:
                raise ServerStopping
            num_unstarted = self._num_unstarted + len(tickets)
            if self._num_unstarted and num_unstarted > self._max_queued + self._num_free_places():
                raise QueueFull(self._num_unstarted, self._rate.seconds_for(len(tickets)))
            self._num_unstarted += len(tickets)
            self._added.extend(tickets)
            self._changed.notify()
        return tickets

    def cancel(self, tickets: Iterable[Ticket]) -> None:
        """End requests before the next step, which frees their pages; finished ones are ignored."""
        with self._changed:
            for ticket in tickets:
                if ticket.finished is None and not ticket.is_cancelled:
                    ticket.is_cancelled = True
                    self._cancelled.append(ticket)
            self._changed.notify()

    def drain(self, timeout: float | None = None) -> bool:
        """Take no more requests, and wait until all are finished; return whether they are."""
        with self._changed:
            self._is_draining = True
            return self._changed.wait_for(lambda: not self._has_requests or not self.is_alive, timeout)

    def stop(self) -> None:
        """End the thread; unfinished requests fail with `ServerStopping`."""
        with self._changed:
            self._is_draining = self._is_stopped = True
            self._changed.notify()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def stats(self) -> EngineStats:
        """Return what the loop has done and what it has to do."""
        engine, began = self._engine, self._step_began
        return attrs.evolve(
            self._totals,
            is_alive=self.is_alive,
            running=len(self._tickets) - len(self._waiting),
            waiting=self._num_unstarted,
            pages_used=0 if engine is None else engine.pages.num_used,
            pages_total=0 if engine is None else engine.pages.capacity,
            step_seconds=0.0 if began is None else time.monotonic() - began,
        )

    def _num_free_places(self) -> int:
        """Return how many more sequences a step can have, if the KV cache has room for them."""
        engine = self._engine
        most = MAX_SEQUENCES if engine is None else engine.scheduler.limits.max_sequences
        return max(0, most - (len(self._tickets) - len(self._waiting)))

    @property
    def _has_requests(self) -> bool:
        return bool(self._added or self._tickets)

    def _run(self) -> None:
        error: BaseException = ServerStopping()
        try:
            while self._wait():
                with self._using():
                    while self._has_requests and not self._is_stopped:
                        self._turn()
        except BaseException as raised:  # noqa: BLE001 - reported to all requests
            error = self._failure = raised
        with self._changed:
            self._fail_all(EngineStopped(error) if self._failure is not None else error)
            self._close_engine()
            self._changed.notify_all()

    def _wait(self) -> bool:
        """Wait for a request; return whether the loop goes on."""
        with self._changed:
            self._changed.notify_all()  # `drain` waits for the end of all requests
            self._changed.wait_for(lambda: self._has_requests or self._is_stopped)
            return not self._is_stopped

    def _turn(self) -> None:
        """Read what was added and cancelled, compute a step and deliver its events."""
        events: list[tuple[Ticket, EngineEvent]] = []
        try:
            engine = self._current_engine()
            self._read_inbox(engine, events)
            began = self._step_began = time.monotonic()
            produced = engine.step()
            self._note_started(engine, began)
            events += self._collect(produced)
        except Exception as error:  # noqa: BLE001 - of the engine, which concerns all of its requests
            self._totals.failed_steps += 1
            if events:  # refusals, whose requests the engine does not have
                self._deliver(events)
            if self._engine is None:  # it could not be opened, and the inbox was not read
                self._fail_all(error)
                return
            with suppress(Exception):  # it has failed already
                self._close_engine()
            self._fail(list(self._tickets.values()), error)
            return
        finally:
            self._step_began = None
        self._totals.steps += 1
        if events:
            self._deliver(events)

    def _current_engine(self) -> Engine:
        version = self._version()
        if self._engine is not None and not self._tickets and version != self._engine_version:
            self._close_engine()
        if self._engine is None:
            self._engine, self._engine_version = self._open_engine(), version
        return self._engine

    def _close_engine(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def _read_inbox(self, engine: Engine, events: list[tuple[Ticket, EngineEvent]]) -> None:
        with self._changed:
            added, cancelled = list(self._added), list(self._cancelled)
            self._added.clear()
            self._cancelled.clear()
        for ticket in added:
            if ticket.is_cancelled:
                self._end(ticket)
                continue
            try:
                index = engine.add(ticket.request)
            except Exception as error:  # noqa: BLE001 - of this request only
                self._end(ticket)
                events.append((ticket, FailedRequest(ticket.number, error, ticket.request.prompt)))
            else:
                self._tickets[index] = self._waiting[index] = ticket
        indices = {id(ticket): index for index, ticket in self._tickets.items()} if cancelled else {}
        for ticket in cancelled:
            index = indices.get(id(ticket), -1)
            if index in self._tickets:
                engine.cancel(index)
                self._end(self._tickets.pop(index), index)

    def _note_started(self, engine: Engine, began: float) -> None:
        if not self._waiting:
            return
        started = [index for index in self._waiting if not engine.is_waiting(index)]
        for index in started:
            self._waiting.pop(index).started = began
        with self._changed:
            self._num_unstarted -= len(started)

    def _collect(self, produced: Iterable[EngineEvent]) -> Iterable[tuple[Ticket, EngineEvent]]:
        now = time.monotonic()
        for event in produced:
            ticket = self._tickets.get(event.index)
            if ticket is None:
                continue
            if isinstance(event, FailedRequest):
                self._end(self._tickets.pop(event.index), event.index)
            else:
                if ticket.first_token is None:
                    ticket.first_token = now
                    self._totals.prompt_tokens += len(ticket.request.prompt)
                    self._totals.cached_tokens += event.cached_tokens
                self._totals.completion_tokens += 1
                if event.finish_reason is not None:
                    self._rate.add(now)
                    self._end(self._tickets.pop(event.index), event.index)
            if not ticket.is_cancelled:
                yield ticket, attrs.evolve(event, index=ticket.number)

    def _end(self, ticket: Ticket, index: int = -1) -> None:
        ticket.finished = time.monotonic()
        if ticket.started is None:
            self._waiting.pop(index, None)
            with self._changed:
                self._num_unstarted -= 1

    def _fail_all(self, error: BaseException) -> None:
        with self._changed:
            tickets = [*self._tickets.values(), *self._added]
            self._added.clear()
        self._fail(tickets, error)

    def _fail(self, tickets: Sequence[Ticket], error: BaseException) -> None:
        self._tickets.clear()
        self._waiting.clear()
        for ticket in tickets:
            self._end(ticket)
        failed = [(it, FailedRequest(it.number, error, it.request.prompt)) for it in tickets]
        if failed:
            self._deliver([(it, event) for it, event in failed if not it.is_cancelled])
