"""Run tool calls as calls of Python functions."""

import inspect
import types
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

import attrs

from litgpt.domain.chat.messages import Message
from litgpt.domain.errors import InvalidArgument, LitGPTError
from litgpt.domain.tool_calls.answer_syntax import tool_parameters
from litgpt.domain.tool_calls.check_arguments import argument_problems
from litgpt.domain.tool_calls.deltas import ToolCall, dump_json
from litgpt.domain.validation.json_values import json_value

_LONGEST_ERROR = 1000


@attrs.frozen
class PythonTools:
    """Python functions that the model may call.

    Attributes:
        functions: The functions, by name.
        schemas: The JSON schemas of the arguments of all tools, by name; of these without a function, the
            calls are returned to the caller.
    """

    functions: Mapping[str, Callable[..., Any]] = attrs.field(factory=dict)
    schemas: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)

    @classmethod
    def from_tools(cls, tools: object, schemas: Sequence[Mapping[str, Any]] | None) -> "PythonTools":
        """Return the functions among `tools`, whose JSON schemas are `schemas`.

        Raises:
            InvalidArgument: A function is asynchronous, or two tools have the same name.
        """
        if not isinstance(tools, Sequence) or not schemas:
            return cls()
        parameters = tool_parameters(schemas)
        functions: dict[str, Callable[..., Any]] = {}
        for number, (tool, schema) in enumerate(zip(tools, schemas, strict=True)):
            if not callable(tool):
                continue
            if inspect.iscoroutinefunction(tool) or inspect.isasyncgenfunction(tool):
                expected = "a function that is not async: one that calls asyncio.run, for example"
                raise InvalidArgument(f"tools[{number}]", tool, expected)
            functions[schema["function"]["name"]] = tool
        if functions and len(parameters) < len(schemas):
            raise InvalidArgument("tools", [*parameters], "tools of different names")
        return cls(functions, parameters)

    def can_run(self, calls: Sequence[ToolCall]) -> bool:
        """Return whether all calls can be run; a call of an unknown tool can, and results in an error."""
        return bool(calls and self.functions) and all(
            call.name in self.functions or call.name not in self.schemas for call in calls
        )

    def run(self, call: ToolCall) -> Message:
        """Run a call and return the message with its result, or with what is wrong with the call."""
        return tool_message(call, self._result(call))

    def _result(self, call: ToolCall) -> str:
        function = self.functions.get(call.name)
        if function is None:
            return f"Error: tool {call.name!r} does not exist. The tools are {', '.join(self.functions)}."
        if problems := argument_problems(call.arguments, self.schemas[call.name]):
            return _bounded(f"Error: {call.name} was not called. {' '.join(problems)}")
        hints = get_type_hints(function)
        try:
            arguments = {name: typed(value, hints.get(name)) for name, value in call.arguments.items()}
            return result_text(function(**arguments))
        except Exception as error:  # noqa: BLE001 - the model can react to any error of a tool
            return _bounded(f"Error: {call.name} raised {type(error).__name__}: {error}")


def tool_message(call: ToolCall, content: str) -> Message:
    """Return the message with the result of a call."""
    return Message("tool", content, {"tool_call_id": call.id, "name": call.name})


def result_text(result: object) -> str:
    """Return the result of a function as text: a string as it is, other values as JSON if they can be."""
    if isinstance(result, str):
        return result
    try:
        return dump_json(json_value("result", result))
    except LitGPTError:
        return str(result)


def typed(value: Any, hint: Any) -> Any:
    """Return a JSON value as the type that a function expects: an Enum, a tuple, an int in place of 3.0."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        members = [member for member in args if member is not type(None)]
        return typed(value, members[0]) if value is not None and len(members) == 1 else value
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    if isinstance(value, list):
        return _typed_list(value, origin or hint, args)
    if isinstance(value, dict) and origin is dict:
        return {key: typed(item, args[1]) for key, item in value.items()}
    return hint(value) if hint in (int, float) and isinstance(value, (int, float)) else value


def _typed_list(value: list[Any], origin: Any, args: tuple[Any, ...]) -> Any:
    if origin is tuple:
        return tuple(typed(item, hint) for item, hint in zip(value, args or [None] * len(value), strict=True))
    return [typed(item, args[0]) for item in value] if origin is list and args else value


def _bounded(text: str) -> str:
    return text if len(text) <= _LONGEST_ERROR else f"{text[:_LONGEST_ERROR]} …"
