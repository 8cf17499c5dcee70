"""A record of a data set, as the conversation that a model learns from.

The kinds of records are those that data sets on the Hub have: Alpaca's (Taori et al. 2023), pairs of a
prompt and its completion, OpenAI's messages, and ShareGPT's conversations.
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
    "A record has 'instruction' and 'output' (and maybe 'input'), or 'prompt' and 'completion', or "
    "'messages' (each with 'role' and 'content'), or 'conversations' (each with 'from' and 'value'). Beside "
    "these it may have 'tools' and 'chat_template_kwargs'."
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
"""Who speaks in ShareGPT's conversations, and what the role is called elsewhere."""


def parse_conversation(
    record: object, *, location: str, style: PromptStyle | None = None
) -> tuple[Message, ...]:
    """Return a record, or messages, as a conversation that ends with an answer.

    Args:
        record: A JSON object of one of the kinds above, or a list of messages. Fields that none of them has
            are left alone: data sets carry notes of their own.
        location: What to call the record in an error: a file and a line.
        style: Says how an instruction and its input are put together; None is one below the other.

    Raises:
        BadData: A field is missing or is no text, or there is no answer to learn.

    """
    if isinstance(record, Mapping):
        said = _from_record(record, location, style)
    elif isinstance(record, Sequence) and not isinstance(record, (str, bytes)):
        said = _turns(record, location, "role", "content")
    else:
        raise InvalidData(location, f"it is {_kind(record)}, not an object. {SUPPORTED_FORMATS}")
    if not said or said[-1].role != "assistant":
        last = f"it ends with what the {said[-1].role} says" if said else "it is empty"
        raise InvalidData(location, f"{last}, so there is no answer to learn.")
    return said


def parse_template_options(record: object, default: TemplateOptions, *, location: str) -> TemplateOptions:
    """Return what the chat template is given beside the messages of a record.

    Args:
        record: A record. Its `tools` and `chat_template_kwargs` may be JSON texts, as data sets have them
            whose columns are of one type.
        default: What is taken in place of a field that it does not have.
        location: What to call the record in an error.

    Raises:
        BadData: One of the fields cannot be right.

    """
    if not isinstance(record, Mapping):
        return default
    names = {"tools": "tools", "chat_template_kwargs": "variables"}
    given: dict[str, Any] = {
        names[name]: _parse_json(record[name], name, location)
        for name in names
        if record.get(name) is not None
    }
    try:
        return attrs.evolve(default, **given) if given else default
    except InvalidArgument as error:
        raise InvalidData(location, str(error)) from error


def parse_text(record: object, *, location: str) -> str:
    """Return the text of a record to pretrain on.

    Raises:
        BadData: It has no field `text`, or that is no text.

    """
    if not isinstance(record, Mapping):
        raise InvalidData(location, f"it is {_kind(record)}, not an object with 'text'.")
    return _text(record, "text", location, "A record to pretrain on has 'text'.")


def _from_record(
    record: Mapping[str, object], location: str, style: PromptStyle | None
) -> tuple[Message, ...]:
    if "messages" in record:
        return _turns(record["messages"], location, "role", "content")
    if "conversations" in record:
        return _turns(record["conversations"], location, "from", "value")
    if "instruction" in record:
        given = "" if record.get("input") is None else _text(record, "input", location)
        asked = instruction_messages(style, _text(record, "instruction", location), given)
        return (*asked, Message("assistant", _text(record, "output", location)))
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
    if "text" in record and style is PLAIN:  # rendered already, or without a form
        return Message("user", ""), Message("assistant", _text(record, "text", location))
    found = ", ".join(repr(name) for name in record) or "nothing"
    raise InvalidData(location, f"its fields are {found}. {SUPPORTED_FORMATS}")


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
    if more := [
        name for name, value in turn.items() if name not in (role_key, content_key) and value is not None
    ]:
        listed = ", ".join(map(repr, more))
        raise InvalidData(
            location, f"it has {listed}, which would be lost: only {role_key!r} and {content_key!r} are read."
        )
    if role not in _ROLES:
        raise InvalidData(location, f"it is from {role!r}; known are {', '.join(map(repr, _ROLES))}.")
    calls = _parse_tool_calls(content) if role == "function_call" else []
    return Message("assistant", None, {"tool_calls": calls}) if calls else Message(_ROLES[role], content)


def _message(turn: Mapping[str, object], location: str) -> Message:
    _text(turn, "role", location)
    try:
        return parse_message(turn, "it")
    except InvalidArgument as error:
        if "content" not in turn or not isinstance(turn["content"], (str, list)):
            _text(turn, "content", location)  # says what is wrong with a single field in fewer words
        if isinstance(turn.get("content"), list):
            raise InvalidData(location, f"its 'content' is of type list, and {error}") from error
        raise InvalidData(location, str(error)) from error


def _parse_tool_calls(written: str) -> list[dict[str, Any]]:
    """Return the calls that ShareGPT's conversations write as JSON; none if it is text of another kind."""
    try:
        found = json.loads(written)
    except (ValueError, RecursionError):
        return []
    calls = found if isinstance(found, list) else [found]
    if not all(isinstance(one, dict) and "name" in one for one in calls):
        return []
    return [{"type": "function", "function": one} for one in calls]


def _parse_json(value: object, name: str, location: str) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise InvalidData(location, f"its {name!r} is a text that is not JSON: {error}.") from error


def _text(record: Mapping[str, object], field: str, location: str, expected: str = SUPPORTED_FORMATS) -> str:
    if field not in record:
        raise InvalidData(location, f"it has no {field!r}. {expected}")
    value = record[field]
    if not isinstance(value, str):
        raise InvalidData(location, f"its {field!r} is {_kind(value)}, not a text.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        half = f"{value[error.start]!r}, half of a character (a lone surrogate), at {error.start}"
        raise InvalidData(location, f"its {field!r} has {half}.") from error
    return value


def _kind(value: object) -> str:
    return "null" if value is None else f"of type {type(value).__name__}"
