"""A streamed answer of a server, as the chat shows and remembers it."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

import attrs

from litgpt.cli.remote.errors import RequestFailed, request_failed
from litgpt.domain.chat.messages import Message
from litgpt.domain.tool_calls.deltas import Delta, ReasoningDelta, TextDelta, ToolCall, ToolCallEnd

MAX_CALLS = 128
"""The most tool calls of one answer."""

MAX_CHARS = 64 << 20
"""The most characters of the text, reasoning and arguments of one answer together."""

ValueT = TypeVar("ValueT")


@attrs.frozen
class AnswerEnd:
    """The end of an answer: why it ended, and its number of tokens."""

    finish_reason: str
    completion_tokens: int


@attrs.frozen
class AnswerPart:
    """What one event of a stream adds to an answer; `token` is not known here."""

    deltas: tuple[Delta, ...] = ()
    completion: AnswerEnd | None = None
    token: int | None = None


@attrs.define
class _Call:
    id: str = ""
    name: str = ""
    arguments: str = ""


@attrs.define
class StreamedAnswer:
    """Joins the chunks of `/v1/chat/completions`, whose types are checked."""

    _text: str = attrs.field(default="", init=False)
    _reasoning: str = attrs.field(default="", init=False)
    _calls: dict[int, _Call] = attrs.field(factory=dict, init=False)
    _finish_reason: str | None = attrs.field(default=None, init=False)
    _tokens: int | None = attrs.field(default=None, init=False)
    _chunks: int = attrs.field(default=0, init=False)
    _size: int = attrs.field(default=0, init=False)

    def push(self, data: str) -> AnswerPart:
        """Return what the data of one event adds; nothing if it is "", which is a comment.

        Raises:
            RequestFailed: The event is an error, or is not a chunk.
        """
        if not data:
            return AnswerPart()
        try:
            chunk = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise _not_a_chunk() from error
        chunk = _typed(chunk, dict, {})
        if chunk.get("error") is not None:
            raise request_failed(chunk["error"])
        self._tokens = _typed(
            _typed(chunk.get("usage"), dict, {}).get("completion_tokens"), int, self._tokens
        )
        choices = _typed(chunk.get("choices"), list, [])
        return self._push_choice(_typed(choices[0], dict, {})) if choices else AnswerPart()

    def end(self) -> AnswerPart:
        """Return the last part: the complete tool calls, and the end."""
        calls = tuple(ToolCallEnd(at, _tool_call(call)) for at, call in enumerate(self._calls.values()))
        tokens = self._chunks if self._tokens is None else self._tokens
        return AnswerPart(calls, AnswerEnd(self._finish_reason or "stop", tokens))

    @property
    def message(self) -> Message | None:
        """The answer so far as a message; None if it is empty.

        The calls of an answer that has not ended are left out, since they may be incomplete.
        """
        calls = list(self._calls.values()) if self._finish_reason == "tool_calls" else []
        if not (self._text or self._reasoning or calls):
            return None
        fields: dict[str, Any] = {"reasoning_content": self._reasoning} if self._reasoning else {}
        if calls:
            fields["tool_calls"] = [
                {"id": it.id, "type": "function", "function": {"name": it.name, "arguments": it.arguments}}
                for it in calls
            ]
        return Message("assistant", self._text, fields)

    def _push_choice(self, choice: Mapping[str, Any]) -> AnswerPart:
        delta = _typed(choice.get("delta"), dict, {})
        self._finish_reason = _typed(choice.get("finish_reason"), str, self._finish_reason)
        deltas: list[Delta] = []
        if reasoning := self._piece(delta, "reasoning_content"):
            self._reasoning += reasoning
            deltas.append(ReasoningDelta(reasoning))
        if text := self._piece(delta, "content"):
            self._text += text
            deltas.append(TextDelta(text))
        calls = _typed(delta.get("tool_calls"), list, [])
        for call in calls:
            self._push_call(_typed(call, dict, {}))
        self._chunks += bool(deltas or calls)
        return AnswerPart(tuple(deltas))

    def _push_call(self, piece: Mapping[str, Any]) -> None:
        index = _typed(piece.get("index"), int, 0)
        if len(self._calls) == MAX_CALLS and index not in self._calls:
            raise RequestFailed(f"The answer has more than {MAX_CALLS} tool calls.", "Change the message.")
        call = self._calls.setdefault(index, _Call())
        function = _typed(piece.get("function"), dict, {})
        call.id = call.id or self._piece(piece, "id")
        call.name += self._piece(function, "name")
        call.arguments += self._piece(function, "arguments")

    def _piece(self, fields: Mapping[str, Any], name: str) -> str:
        text: str = _typed(fields.get(name), str, "")
        self._size += len(text)
        if self._size > MAX_CHARS:
            raise RequestFailed(
                f"The answer has more than {MAX_CHARS} characters.", "/set max_new_tokens NUMBER limits it."
            )
        return text


def _tool_call(call: _Call) -> ToolCall:
    try:
        arguments = json.loads(call.arguments)
    except (ValueError, RecursionError):
        arguments = {}
    shown = f"{call.name}({call.arguments})"
    return ToolCall(call.id, call.name, arguments if isinstance(arguments, dict) else {}, shown)


def _typed(value: Any, kind: type[ValueT], default: Any) -> Any:
    """Return a value of a type, or the default for null."""
    if value is None:
        return default
    if not isinstance(value, kind):
        raise _not_a_chunk()
    return value


def _not_a_chunk() -> RequestFailed:
    return RequestFailed(
        "The server sent an event that is not in the format of OpenAI's API.",
        "Check that --url is the root of an OpenAI-compatible server.",
    )
