"""The iterator over the tokens of all answers, without the computation."""

from collections.abc import Callable, Iterator
from typing import Protocol

from litgpt.domain.generation.request import TokenEvent


class UsedPrefix(Protocol):
    """A prefix cache, which one generation may use at a time."""

    in_use: bool


class EventStream(Iterator[TokenEvent]):
    """Implements the port `Generation`.

    Args:
        events: Returns the events, given the set of cancelled requests, which may grow. It must not reference
            this object, so that the KV caches are freed as soon as the caller drops it.
        prefix: The prefix cache that the generation uses, if any.
    """

    def __init__(self, events: Callable[[set[int]], Iterator[TokenEvent]], prefix: UsedPrefix | None) -> None:
        self._prefix = prefix
        self._cancelled: set[int] = set()
        self._events = events(self._cancelled)

    def __next__(self) -> TokenEvent:
        try:
            return next(self._events)
        except BaseException:  # StopIteration or an error: no more tokens follow
            self.close()
            raise

    def cancel(self, index: int) -> None:
        self._cancelled.add(index)

    def close(self) -> None:
        self._events = iter(())
        if self._prefix is not None:
            self._prefix.in_use = False  # available for the next generation
            self._prefix = None

    def __del__(self) -> None:
        self.close()
