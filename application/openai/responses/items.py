"""The input of a response as chat messages."""

import json
from collections.abc import Mapping
from typing import Any

import attrs

from litgpt.domain.errors import InvalidArgument, MissingArgument, WrongType

_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
_TEXT_PARTS = ("input_text", "output_text", "text")
_TYPES = "message, function_call, function_call_output or reasoning"


def read_messages(value: Any, instructions: str | None = None) -> list[dict[str, Any]]:
    """Return the messages of an `input`, after a system message with the instructions.

    Consecutive reasoning, text and calls of the assistant are one message, as chat templates expect.
    Instructions and the system messages that follow are one message too, since many templates have one only.

    Raises:
        InvalidArgument: An item has a wrong value, or a type that is not supported.
    """
    builder = _Messages()
    if instructions:
        builder.add("system", instructions)
    if isinstance(value, str):
        builder.add("user", value)
        return builder.messages
    if not isinstance(value, list):
        raise WrongType("input", value, "a text or a list of items")
    if not value:
        raise InvalidArgument("input", value, "at least one item long")
    for number, item in enumerate(value):
        builder.add_item(item, f"input[{number}]")
    return builder.messages


@attrs.define
class _Messages:
    messages: list[dict[str, Any]] = attrs.field(factory=list)
    _names: dict[str, str] = attrs.field(factory=dict)  # of the called functions, by call

    def add_item(self, item: Any, at: str) -> None:
        if not isinstance(item, dict):
            raise WrongType(at, item, f"an object of the type {_TYPES}")
        kind = item.get("type", "message")
        if kind == "message":
            self._add_message(item, at)
        elif kind == "function_call":
            self._add_call(item, at)
        elif kind == "function_call_output":
            self._add_output(item, at)
        elif kind == "reasoning":
            self._add_reasoning(item, at)
        elif kind == "item_reference":
            raise InvalidArgument(f"{at}.type", kind, f"{_TYPES}: send the item itself, as nothing is stored")
        else:
            raise InvalidArgument(f"{at}.type", kind, _TYPES)

    def add(self, role: str, text: str) -> None:
        last = self.messages[-1] if self.messages else {}
        if role == "system" and len(self.messages) == 1 and last["role"] == "system":
            last["content"] += f"\n\n{text}"
        else:
            self.messages.append({"role": role, "content": text})

    def _add_message(self, item: Mapping[str, Any], at: str) -> None:
        role = item.get("role")
        if not isinstance(role, str) or role not in _ROLES:
            raise InvalidArgument(f"{at}.role", role, "user, assistant, system or developer")
        if "content" not in item:
            raise MissingArgument(f"{at}.content", None, "add the text of the message.")
        text = _text(item["content"], f"{at}.content")
        if role == "assistant":
            self._assistant("content", "tool_calls")["content"] = text
        else:
            self.add(_ROLES[role], text)

    def _add_call(self, item: Mapping[str, Any], at: str) -> None:
        call_id, name, arguments = (_string(item, it, at) for it in ("call_id", "name", "arguments"))
        self._names[call_id] = name
        function = {"name": name, "arguments": _parsed(arguments)}
        call = {"id": call_id, "type": "function", "function": function}
        self._assistant().setdefault("tool_calls", []).append(call)

    def _add_output(self, item: Mapping[str, Any], at: str) -> None:
        call_id = _string(item, "call_id", at)
        message = {
            "role": "tool",
            "tool_call_id": call_id,
            "content": _text(item.get("output"), f"{at}.output"),
        }
        if call_id in self._names:
            message["name"] = self._names[call_id]
        self.messages.append(message)

    def _add_reasoning(self, item: Mapping[str, Any], at: str) -> None:
        name = "content" if item.get("content") else "summary"
        parts = item.get(name) or []
        if not (isinstance(parts, list) and all(isinstance(part, dict) for part in parts)):
            raise WrongType(f"{at}.{name}", parts, "a list of parts with text")
        text = "".join(_string(part, "text", f"{at}.{name}[{number}]") for number, part in enumerate(parts))
        if text:
            self._assistant("content", "tool_calls", "reasoning_content")["reasoning_content"] = text

    def _assistant(self, *without: str) -> dict[str, Any]:
        """Return the assistant's last message, or a new one if it has one of these fields already."""
        last = self.messages[-1] if self.messages else {}
        if last.get("role") != "assistant" or any(last.get(name) for name in without):
            last = {"role": "assistant", "content": ""}
            self.messages.append(last)
        return last


def _text(content: Any, at: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise WrongType(at, content, "a text or a list of parts")
    texts = []
    for number, part in enumerate(content):
        if not isinstance(part, dict):
            raise WrongType(f"{at}[{number}]", part, "a part such as {'type': 'input_text', 'text': 'Hello'}")
        kind = part.get("type")
        if kind == "refusal":
            texts.append(_string(part, "refusal", f"{at}[{number}]"))
        elif kind in _TEXT_PARTS:
            texts.append(_string(part, "text", f"{at}[{number}]"))
        else:
            expected = "input_text or output_text, since only text models are served"
            raise InvalidArgument(f"{at}[{number}].type", kind, expected)
    return "".join(texts)


def _string(item: Mapping[str, Any], name: str, at: str) -> str:
    value = item.get(name)
    if not isinstance(value, str):
        raise WrongType(f"{at}.{name}", value, "a text")
    return value


def _parsed(arguments: str) -> Any:
    """Return arguments as the object that chat templates iterate over; other text remains as it is."""
    try:
        value = json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
    return value if isinstance(value, dict) else arguments
