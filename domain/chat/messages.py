"""Chat messages in the format of chat templates and OpenAI-style APIs."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeAlias

import attrs

from litgpt.domain.errors import InvalidArgument, UnsupportedPrompt, WrongType
from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.validation.json_values import json_value

Content: TypeAlias = str | Sequence[Mapping[str, Any]] | None
"""The text of a message, or its content parts (`{"type": "text", "text": …}`); None beside tool calls."""

_EXAMPLE = "a list of messages such as {'role': 'user', 'content': 'Hello'}"
_MEDIA = ("image", "audio", "video", "file")
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_NEEDS_CONTENT = ("system", "developer", "user")
_CONTENT_SUBSTITUTES = ("tool_calls", "function_call", "reasoning_content", "reasoning", "thinking")


@attrs.frozen
class Message:
    """One message of a conversation.

    Attributes:
        role: `system`, `user`, `assistant`, `tool`, or any other role that the chat template supports.
        content: A string, a list of content parts, or None, as with `tool_calls`.
        fields: The other fields of the message: `tool_calls`, `tool_call_id`, `name`, `reasoning_content`, …
            They reach the chat template unchanged.
    """

    role: str
    content: Content = None
    fields: Mapping[str, Any] = attrs.field(factory=dict)

    __repr__ = brief_repr

    @property
    def text(self) -> str:
        """The content as one string: text parts are concatenated, and None is empty."""
        if self.content is None or isinstance(self.content, str):
            return self.content or ""
        parts = [part.get("text") for part in self.content]
        if any(not isinstance(part, str) for part in parts):
            raise UnsupportedPrompt(
                "of plain strings", "a content part is not text. Pass the content as a string."
            )
        return "".join(map(str, parts))

    def as_dict(self) -> dict[str, Any]:
        """Return the message as a dict, without fields that are None."""
        fields = {"role": self.role, "content": self.content, **self.fields}
        return {name: value for name, value in fields.items() if value is not None}

    def with_continuation(self, text: str, field: bool | str = True) -> "Message":  # noqa: FBT001, FBT002 - as the argument
        """Return the message with more text at the end of its content, or of the named field."""
        if isinstance(field, str) and field != "content":
            return attrs.evolve(self, fields={**self.fields, field: f"{self.fields.get(field, '')}{text}"})
        if self.content is None or isinstance(self.content, str):
            return attrs.evolve(self, content=f"{self.content or ''}{text}")
        return attrs.evolve(self, content=[*self.content, {"type": "text", "text": text}])


Messages: TypeAlias = Sequence[Message]


def last_user_message(messages: Messages) -> int | None:
    """Return the index of the last message of the user; None if there is none."""
    users = [index for index, message in enumerate(messages) if message.role == "user"]
    return users[-1] if users else None


def parse_messages(value: object) -> tuple[Message, ...]:
    """Return a list of Messages, or of dicts, dataclasses or pydantic objects with their fields, as Messages.

    Raises:
        WrongType: `value` is not a list of messages.
        InvalidArgument: The list is empty, or a message contains an image, audio or video.
    """
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise WrongType("messages", value, _EXAMPLE)
    if not value:
        raise InvalidArgument("messages", value, _EXAMPLE)
    return tuple(parse_message(item, f"messages[{number}]") for number, item in enumerate(value))


def parse_message(value: object, location: str) -> Message:
    """Return one message: a Message, or an object with `role` and `content`, and possibly more fields.

    `location` names it in errors, such as `messages[0]`.
    """
    if isinstance(value, Message):
        return value
    fields = json_value(location, value)
    if not isinstance(fields, dict) or not isinstance(fields.get("role"), str) or not fields["role"]:
        raise WrongType(location, value, "a message such as {'role': 'user', 'content': 'Hello'}")
    role, content = fields.pop("role"), fields.pop("content", None)
    if role not in _ROLES and (close := get_close_matches(role.lower(), _ROLES, n=1, cutoff=0.7)):
        raise InvalidArgument(f"{location}.role", role, f"{close[0]!r}, or another role of the chat template")
    calls = fields.get("tool_calls")
    if calls is not None and not (isinstance(calls, list) and all(isinstance(call, dict) for call in calls)):
        raise WrongType(
            f"{location}.tool_calls", calls, "a list of calls such as {'function': {'name': 'f'}}"
        )
    if content is None:
        _check_without_content(role, fields, location, value)
    elif isinstance(content, list):
        _check_parts(content, f"{location}.content")
    elif not isinstance(content, str):
        raise WrongType(f"{location}.content", content, "a string, a list of text parts, or None")
    return Message(role, content, {name: field for name, field in fields.items() if field is not None})


def _check_without_content(role: str, fields: Mapping[str, Any], location: str, value: object) -> None:
    """Refuse a message without content, which may have been lost or misspelled."""
    explicit = isinstance(value, Mapping) and "content" in value
    enough = fields if explicit else [name for name in _CONTENT_SUBSTITUTES if name in fields]
    if role in _NEEDS_CONTENT or not any(fields[name] is not None for name in enough):
        raise WrongType(
            location, value, f"a message with 'content', which only {_CONTENT_OPTIONAL} may leave out"
        )


_CONTENT_OPTIONAL = "an assistant message with 'tool_calls' or 'reasoning_content'"


def _check_parts(parts: Sequence[object], location: str) -> None:
    for number, part in enumerate(parts):
        if not isinstance(part, dict):
            raise WrongType(
                f"{location}[{number}]", part, "a content part such as {'type': 'text', 'text': 'Hi'}"
            )
        kind = str(part.get("type", ""))
        if media := next(
            (medium for medium in _MEDIA if medium in kind or medium in part or f"{medium}_url" in part), None
        ):
            expected = f"a text part: only text models are supported, which cannot read {media} content"
            raise InvalidArgument(f"{location}[{number}]", kind or media, expected)
        if kind == "text" and not isinstance(part.get("text"), str):
            raise WrongType(f"{location}[{number}].text", part.get("text"), "a string")
