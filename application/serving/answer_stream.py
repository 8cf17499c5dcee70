"""The answers to the requests of one client, as they are generated, in asyncio."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence

import attrs

from litgpt.application.answer_builder import AnswerBuilder
from litgpt.application.serving.ticket import Ticket
from litgpt.domain.generation.request import Completion, CompletionChunk
from litgpt.domain.scheduling.events import EngineEvent, FailedRequest


@attrs.frozen(kw_only=True)
class Timings:
    """Where the time of a request went, in seconds; of several answers, the longest.

    Attributes:
        queue: Until the first step that computed it.
        prefill: From then to its first token.
        decode: From its first token to its last.
    """

    queue: float
    prefill: float
    decode: float


class AnswerStream:
    """Answers that an engine loop computes.

    `put` is called in the thread of the event loop, where the chunks are read. A reader that falls behind
    gets several chunks at once and delays nobody.
    """

    def __init__(
        self, builders: Sequence[AnswerBuilder], cancel: Callable[[Iterable[Ticket]], object]
    ) -> None:
        self._builders, self._cancel = builders, cancel
        self._tickets: Sequence[Ticket] = ()
        self._events: deque[tuple[Ticket, EngineEvent]] = deque()
        self._arrived = asyncio.Event()
        self._unfinished = set(range(len(builders)))
        self.completions: list[Completion | None] = [None] * len(builders)

    def begin(self, tickets: Sequence[Ticket]) -> None:
        """Set the tickets of the answers that need an engine, in order."""
        self._tickets = tickets

    def put(self, ticket: Ticket, event: EngineEvent) -> None:
        """Add an event."""
        self._events.append((ticket, event))
        self._arrived.set()

    async def chunks(self) -> AsyncGenerator[list[CompletionChunk], None]:
        """Yield the chunks that have arrived, those of an answer in order.

        Raises:
            Exception: The engine has failed to compute an answer. The others are cancelled.
        """
        try:
            if empty := [self._empty(index) for index in sorted(self._unfinished) if self._is_empty(index)]:
                yield empty
            while self._unfinished:
                await self._arrived.wait()
                self._arrived.clear()
                if chunks := self._read():
                    yield chunks
        finally:
            self.cancel()

    def cancel(self) -> None:
        """End the answers that are not complete."""
        if self._unfinished:
            self._unfinished.clear()
            self._cancel(self._tickets)

    @property
    def is_complete(self) -> bool:
        return None not in self.completions

    @property
    def cached_tokens(self) -> list[int]:
        """The tokens of the prompt of each answer whose keys and values were not computed again."""
        return [builder.cached_tokens for builder in self._builders]

    @property
    def timings(self) -> Timings:
        now = time.monotonic()
        queue, prefill, decode = 0.0, 0.0, 0.0
        for ticket in self._tickets:
            started = ticket.started or now
            first = ticket.first_token or max(started, ticket.finished or now)
            queue = max(queue, started - ticket.queued)
            prefill = max(prefill, first - started)
            decode = max(decode, (ticket.finished or now) - first)
        return Timings(queue=queue, prefill=prefill, decode=decode)

    def _is_empty(self, index: int) -> bool:
        return self._builders[index].request.max_new_tokens == 0

    def _empty(self, index: int) -> CompletionChunk:
        completion = self._builders[index].completion("length")
        self._finish(index, completion)
        return CompletionChunk(index, "", completion=completion)

    def _finish(self, index: int, completion: Completion) -> None:
        self.completions[index] = completion
        self._unfinished.discard(index)

    def _read(self) -> list[CompletionChunk]:
        chunks = []
        while self._events:
            ticket, event = self._events.popleft()
            if isinstance(event, FailedRequest):
                raise event.error
            if ticket.number not in self._unfinished:  # a stop string has ended it
                continue
            chunk = self._builders[ticket.number].push(event)
            if chunk.completion is not None:
                self._finish(ticket.number, chunk.completion)
                if event.finish_reason is None:
                    self._cancel([ticket])
            chunks.append(chunk)
        return chunks
