"""What an answer consists of: text, reasoning and tool calls, in increments and as a whole."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import attrs

from litgpt.domain.formatting.bounded_text import brief_repr


@attrs.frozen
class ToolCall:
    """A call of a tool by the model.

    Attributes:
        id: Identifies the call, for the message with its result. It is the model's own if its format has one.
        name: The name of the tool, which need not be among the tools that were passed.
        arguments: The parsed arguments, a JSON object. They are not checked against the tool's schema.
        raw_text: The call as the model wrote it, with the marks of the format.
    """

    id: str
    name: str
    arguments: Mapping[str, Any]
    raw_text: str = attrs.field(repr=False)

    __repr__ = brief_repr

    def as_dict(self, *, string_arguments: bool = False) -> dict[str, Any]:
        """Return the call as in the field `tool_calls` of a message.

        Args:
            string_arguments: Whether the arguments are JSON text, as in OpenAI's API, instead of an object.
        """
        arguments = dump_json(self.arguments) if string_arguments else dict(self.arguments)
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": arguments}}


@attrs.frozen
class TextDelta:
    """Visible text."""

    text: str


@attrs.frozen
class ReasoningDelta:
    """Reasoning, without its marks."""

    text: str


@attrs.frozen
class ToolCallStart:
    """The name of a call is known; `index` counts the calls of the answer that have started, from 0."""

    index: int
    id: str
    name: str


@attrs.frozen
class ToolCallArguments:
    """A piece of the arguments; the pieces of a call that ends are the text of a JSON object."""

    index: int
    text: str


@attrs.frozen
class ToolCallEnd:
    """A call is complete."""

    index: int
    call: ToolCall


@attrs.frozen
class ToolCallRejected:
    """A call that has started cannot be parsed after all; its raw text follows as visible text."""

    index: int


Delta: TypeAlias = (
    TextDelta | ReasoningDelta | ToolCallStart | ToolCallArguments | ToolCallEnd | ToolCallRejected
)
"""An increment of an answer."""


@attrs.frozen
class ParsedAnswer:
    """The sum of deltas.

    Attributes:
        text: The visible text.
        reasoning: The reasoning; None if there is none.
        tool_calls: The complete calls, in order.
    """

    text: str
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()

    @classmethod
    def from_deltas(cls, deltas: Iterable[Delta]) -> "ParsedAnswer":
        deltas = tuple(deltas)
        return cls(
            join_text(deltas),
            join_reasoning(deltas) or None,
            tuple(delta.call for delta in deltas if isinstance(delta, ToolCallEnd)),
        )


def join_text(deltas: Iterable[Delta]) -> str:
    """Return the visible text of deltas."""
    return "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))


def join_reasoning(deltas: Iterable[Delta]) -> str:
    """Return the reasoning of deltas."""
    return "".join(delta.text for delta in deltas if isinstance(delta, ReasoningDelta))


def dump_json(value: Any) -> str:
    """Return a value as JSON, with characters outside ASCII as they are."""
    return json.dumps(value, ensure_ascii=False)
