"""Parse records of data sets as conversations for fine-tuning.

Formats: Alpaca (Taori et al. 2023), prompt and completion, OpenAI messages, and ShareGPT conversations.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from litgpt.domain.chat.messages import Message, parse_message
from litgpt.domain.chat.styles.prompt_style import PromptStyle, instruction_messages
from litgpt.domain.chat.styles.single_turn_styles import PLAIN
from litgpt.domain.chat.template_options import TemplateOptions
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.training.errors import InvalidData

SUPPORTED_FORMATS = (
    "A record has 'instruction' and 'output' (and optionally 'input'), or 'prompt' and 'completion', or "
    "'messages' (each with 'role' and 'content'), or 'conversations' (each with 'from' and 'value'). It may "
    "also have 'tools' and 'chat_template_kwargs'."
)

_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
    "function_call": "assistant",
    "observation": "tool",
    "function_response": "tool",
    "tool": "tool",
}
"""Roles of ShareGPT conversations and the corresponding roles of messages."""


def parse_conversation(
    record: object, *, location: str, style: PromptStyle | None = None
) -> tuple[Message, ...]:
    """Return the conversation of a record in one of the formats above, which ends with an answer.

    `style` combines an instruction and its input; None puts the input below. Other fields are ignored.
    """
    if isinstance(record, Mapping):
        messages = _from_record(record, location, style)
    elif isinstance(record, Sequence) and not isinstance(record, (str, bytes)):
        messages = _turns(record, location, "role", "content")
    else:
        raise InvalidData(location, f"it is {_kind(record)}, not an object. {SUPPORTED_FORMATS}")
    if not messages or messages[-1].role != "assistant":
        last = f"it ends with a message of the {messages[-1].role}" if messages else "it is empty"
        raise InvalidData(location, f"{last}, so the answer to train on is missing.")
    return messages


def parse_template_options(record: object, default: TemplateOptions, *, location: str) -> TemplateOptions:
    """Return the options of the chat template in a record; absent fields have their `default`.

    `tools` and `chat_template_kwargs` may be JSON strings, as in data sets with typed columns.
    """
    if not isinstance(record, Mapping):
        return default
    names = {"tools": "tools", "chat_template_kwargs": "variables"}
    options: dict[str, Any] = {
        names[name]: _parse_json(record[name], name, location)
        for name in names
        if record.get(name) is not None
    }
    try:
        return attrs.evolve(default, **options) if options else default
    except InvalidArgument as error:
        raise InvalidData(location, str(error)) from error


def parse_text(record: object, *, location: str) -> str:
    """Return the text of a record for pretraining, its field `text`."""
    if not isinstance(record, Mapping):
        raise InvalidData(location, f"it is {_kind(record)}, not an object with 'text'.")
    return _text(record, "text", location, "A record for pretraining has 'text'.")


def _from_record(
    record: Mapping[str, object], location: str, style: PromptStyle | None
) -> tuple[Message, ...]:
    if "messages" in record:
        return _turns(record["messages"], location, "role", "content")
    if "conversations" in record:
        return _turns(record["conversations"], location, "from", "value")
    if "instruction" in record:
        extra = "" if record.get("input") is None else _text(record, "input", location)
        prompt = instruction_messages(style, _text(record, "instruction", location), extra)
        return (*prompt, Message("assistant", _text(record, "output", location)))
    if isinstance(record.get("prompt"), list) and isinstance(record.get("completion"), list):
        return tuple(
            turn
            for name in ("prompt", "completion")
            for turn in _turns(record[name], location, "role", "content")
        )
    if "prompt" in record:
        return (
            Message("user", _text(record, "prompt", location)),
            Message("assistant", _text(record, "completion", location)),
        )
    if "text" in record and style is PLAIN:  # already rendered, or plain text
        return Message("user", ""), Message("assistant", _text(record, "text", location))
    fields = f"its fields are {', '.join(map(repr, record))}" if record else "it has no fields"
    raise InvalidData(location, f"{fields}. {SUPPORTED_FORMATS}")


def _turns(turns: object, location: str, role_key: str, content_key: str) -> tuple[Message, ...]:
    if not isinstance(turns, Sequence) or isinstance(turns, (str, bytes)):
        raise InvalidData(location, f"its messages are {_kind(turns)}, not a list. {SUPPORTED_FORMATS}")
    return tuple(
        _turn(turn, f"{location}, message {number}", role_key, content_key)
        for number, turn in enumerate(turns, 1)
    )


def _turn(turn: object, location: str, role_key: str, content_key: str) -> Message:
    if isinstance(turn, Message):
        return turn
    if not isinstance(turn, Mapping):
        raise InvalidData(
            location, f"it is {_kind(turn)}, not an object with {role_key!r} and {content_key!r}."
        )
    if role_key == "role":
        return _message(turn, location)
    role, content = _text(turn, role_key, location), _text(turn, content_key, location)
    if extra := [
        name for name, value in turn.items() if name not in (role_key, content_key) and value is not None
    ]:
        listed = ", ".join(map(repr, extra))
        raise InvalidData(
            location, f"it has {listed}, but only {role_key!r} and {content_key!r} are supported."
        )
    if role not in _ROLES:
        raise InvalidData(location, f"it is from {role!r}, not one of {', '.join(map(repr, _ROLES))}.")
    calls = _parse_tool_calls(content) if role == "function_call" else []
    return Message("assistant", None, {"tool_calls": calls}) if calls else Message(_ROLES[role], content)


def _message(turn: Mapping[str, object], location: str) -> Message:
    _text(turn, "role", location)
    try:
        return parse_message(turn, "it")
    except InvalidArgument as error:
        if "content" not in turn or not isinstance(turn["content"], (str, list)):
            _text(turn, "content", location)  # raises a shorter message
        if isinstance(turn.get("content"), list):
            raise InvalidData(location, f"its 'content' is of type list, and {error}") from error
        error.name = error.name.removeprefix("it.")
        raise InvalidData(location, str(error)) from error


def _parse_tool_calls(written: str) -> list[dict[str, Any]]:
    """Return the JSON tool calls of a ShareGPT message; empty if it is other text."""
    try:
        parsed = json.loads(written)
    except (ValueError, RecursionError):
        return []
    calls = parsed if isinstance(parsed, list) else [parsed]
    if not all(isinstance(call, dict) and "name" in call for call in calls):
        return []
    return [{"type": "function", "function": call} for call in calls]


def _parse_json(value: object, name: str, location: str) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise InvalidData(location, f"its {name!r} is a string that is not JSON: {error}.") from error


def _text(record: Mapping[str, object], field: str, location: str, expected: str = SUPPORTED_FORMATS) -> str:
    if field not in record:
        raise InvalidData(location, f"it has no {field!r}. {expected}")
    value = record[field]
    if not isinstance(value, str):
        raise InvalidData(location, f"its {field!r} is {_kind(value)}, not a string.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        surrogate = f"the lone surrogate {value[error.start]!r} at {error.start}"
        raise InvalidData(location, f"its {field!r} has {surrogate}.") from error
    return value


def _kind(value: object) -> str:
    return "null" if value is None else f"of type {type(value).__name__}"
