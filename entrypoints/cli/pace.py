"""The speed of an answer: tokens, tokens per second, and the time to the first token."""

from collections.abc import Iterator
from time import perf_counter
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from litgpt.domain.generation import TextEvent


@attrs.define
class Pace:
    """Measures one answer, complete or stopped, from when the object is made.

    Attributes:
        began: The time of the start, in seconds of `perf_counter`.
        first: The time of the first token; None before it.
        last: The time of the last token.
        tokens: The number of tokens so far.

    """

    began: float = attrs.field(factory=perf_counter)
    first: float | None = None
    last: float = 0.0
    tokens: int = 0

    def timed(self, events: "Iterator[TextEvent]") -> "Iterator[TextEvent]":
        """Yield the events of an answer as they come."""
        for event in events:
            self.last = perf_counter()
            if self.first is None:
                self.first = self.last
            self.tokens += event.token is not None
            yield event

    def described(self) -> str:
        """Return the figures as a line. The speed leaves out the first token, which waits for the prompt."""
        tokens = self.tokens
        parts = [f"{tokens} token{'' if tokens == 1 else 's'}"]
        if self.first is not None and tokens > 1 and self.last > self.first:
            parts.append(f"{(tokens - 1) / (self.last - self.first):.1f} tokens/s")
        if self.first is not None and tokens:
            parts.append(f"{self.first - self.began:.2f} s to the first token")
        return ", ".join(parts)
