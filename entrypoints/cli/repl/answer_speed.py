"""Notes after an answer: its speed, and why it was truncated."""

from collections.abc import Iterator
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

import attrs

if TYPE_CHECKING:
    from litgpt.cli.repl.chat_protocol import AnswerEnd, AnswerPart

PartT = TypeVar("PartT", bound="AnswerPart")


@attrs.define
class AnswerSpeed:
    """Measures one answer, complete or stopped, from the creation of the object, in seconds."""

    started_at: float = attrs.field(factory=perf_counter)
    first_token_at: float | None = None
    last_token_at: float = 0.0
    tokens: int = 0
    _ended: int = attrs.field(
        default=0, init=False
    )  # tokens of the complete answers: tools are called between

    def measure(self, events: "Iterator[PartT]") -> "Iterator[PartT]":
        for event in events:
            if event.token is None and not event.deltas and event.completion is None:
                yield event  # a sign of life of a server
                continue
            self.last_token_at = perf_counter()
            if self.first_token_at is None:
                self.first_token_at = self.last_token_at
            self.tokens += event.token is not None or bool(event.deltas)
            if event.completion is not None:
                self._ended += event.completion.completion_tokens
                self.tokens = self._ended  # a part of a server's answer may have several tokens
            yield event

    def summary(self) -> str:
        """Return the figures as one line. The speed excludes the first token, which includes the prefill."""
        tokens = self.tokens
        parts = [f"{tokens} token{'' if tokens == 1 else 's'}"]
        if self.first_token_at is not None and tokens > 1 and self.last_token_at > self.first_token_at:
            parts.append(f"{(tokens - 1) / (self.last_token_at - self.first_token_at):.1f} tokens/s")
        if self.first_token_at is not None and tokens:
            parts.append(f"{self.first_token_at - self.started_at:.2f} s to the first token")
        return ", ".join(parts)


def truncation_notice(completion: "AnswerEnd", limit: int | None, remedy: str) -> str:
    """Return a note for the finish reason `length`; `remedy` is the setting that raises the limit."""
    if limit is None or completion.completion_tokens < limit:
        return "(Stopped at the end of the model's context.)"
    return f"(Stopped after {limit} tokens; {remedy} raises the limit.)"
