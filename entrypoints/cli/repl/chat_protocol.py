"""What the session needs of a conversation: `litgpt.Chat`, or one with a server."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from litgpt.chat import Said
    from litgpt.domain.chat.messages import Message
    from litgpt.domain.tool_calls.deltas import Delta


class AnswerEnd(Protocol):
    """The end of an answer, such as a `Completion`."""

    @property
    def finish_reason(self) -> str: ...
    @property
    def completion_tokens(self) -> int: ...


class AnswerPart(Protocol):
    """A part of an answer, such as a `CompletionChunk`; `token` is None if it is not known."""

    @property
    def token(self) -> int | None: ...
    @property
    def deltas(self) -> "Sequence[Delta]": ...
    @property
    def completion(self) -> AnswerEnd | None: ...


class Conversation(Protocol):
    """A conversation; the methods are those of `litgpt.Chat`."""

    @property
    def messages(self) -> "list[Message]": ...
    @property
    def context(self) -> int: ...
    @property
    def sampling(self) -> Any: ...
    def events(self, message: "Said", /) -> Iterator[AnswerPart]: ...
    def undo(self) -> "Message | None": ...
    def count_tokens(self) -> int: ...
    def save(self, path: str | Path, *, overwrite: bool = ...) -> Path: ...
    def close(self) -> None: ...
