"""How fast an answer came: tokens, tokens per second, and the time to the first token."""

from collections.abc import Iterator
from time import perf_counter
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from litgpt.domain.generation import Completion, TextEvent


@attrs.define
class Pace:
    """Measures one answer, from when it is made.

    Attributes:
        began: When the prompt was handed over, in seconds of `perf_counter`.
        first: When the first token came; None if none did.
        last: When the last did.

    """

    began: float = attrs.field(factory=perf_counter)
    first: float | None = None
    last: float = 0.0

    def timed(self, events: "Iterator[TextEvent]") -> "Iterator[TextEvent]":
        """Yield the events of an answer as they come."""
        for event in events:
            self.last = perf_counter()
            if self.first is None:
                self.first = self.last
            yield event

    def described(self, completion: "Completion") -> str:
        """Return the figures as a line. The first token, which waits for the prompt, is not in the speed."""
        tokens = completion.completion_tokens
        parts = [f"{tokens} token{'' if tokens == 1 else 's'}"]
        if self.first is not None and tokens > 1 and self.last > self.first:
            parts.append(f"{(tokens - 1) / (self.last - self.first):.1f} tokens/s")
        if self.first is not None and tokens:
            parts.append(f"{self.first - self.began:.2f} s to the first token")
        return ", ".join(parts)
