"""JSON schemas of tools: written by hand, or derived from a Python function as transformers derives them."""

import inspect
import json
import re
import types
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from litgpt.domain.errors import InvalidArgument, WrongType
from litgpt.domain.validation.json_values import json_value

_SCALAR_TYPES: Mapping[object, str] = {
    int: "integer",
    float: "number",
    str: "string",
    bool: "boolean",
    type(None): "null",
}
_JSON_TYPES: Mapping[object, str] = {**_SCALAR_TYPES, list: "array", tuple: "array", dict: "object"}

_CHOICES = re.compile(r"(?P<text>.*?)\(choices:(?P<list>.*)\)", re.IGNORECASE)


def parse_tools(tools: object) -> tuple[dict[str, Any], ...] | None:
    """Return tools as JSON schemas: dicts are unchanged, Python functions converted; None stays None.

    Raises:
        WrongType: It is not a list of these.
        InvalidArgument: A function lacks a docstring, a type hint or the description of an argument.
    """
    if tools is None:
        return None
    if isinstance(tools, (str, bytes)) or not isinstance(tools, Sequence):
        raise WrongType("tools", tools, "a list of JSON schemas or Python functions")
    return tuple(_schema(f"tools[{number}]", tool) for number, tool in enumerate(tools))


def function_schema(function: Callable[..., Any], name: str = "tools[0]") -> dict[str, Any]:
    """Return the JSON schema of a function, from its type hints and its docstring in Google's style.

    Equal to `transformers.utils.get_json_schema`. `name` is used in error messages.
    """
    if not (doc := inspect.getdoc(function)):
        raise InvalidArgument(name, function, "a function with a docstring, which describes it to the model")
    from litgpt.domain.chat.google_docstring import parse_docstring

    docstring = parse_docstring(doc)
    try:
        hints = get_type_hints(function)
    except NameError as error:
        raise InvalidArgument(
            name, function, f"a function whose type hints can be resolved ({error})"
        ) from error
    properties: dict[str, Any] = {}
    required: list[str] = []
    for number, parameter in enumerate(inspect.signature(function).parameters.values()):
        if parameter.annotation is parameter.empty:
            if number == 0 and parameter.name in ("self", "cls"):
                continue
            raise InvalidArgument(
                name, function, f"a function with a type hint for the argument {parameter.name!r}"
            )
        if parameter.name not in docstring.arguments:
            raise InvalidArgument(
                name, function, f"a function whose docstring describes {parameter.name!r} below 'Args:'"
            )
        properties[parameter.name] = {
            **_type_schema(hints[parameter.name], f"{name}, argument {parameter.name!r}"),
            **_description(docstring.arguments[parameter.name], name),
        }
        if parameter.default is parameter.empty:
            required.append(parameter.name)
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        schema["required"] = required
    described_function: dict[str, Any] = {
        "name": getattr(function, "__name__", "operation"),
        "description": docstring.summary,
        "parameters": schema,
    }
    if (result := _return_schema(hints)) is not None:
        described_function["return"] = {
            **result,
            **({} if docstring.returns is None else {"description": docstring.returns}),
        }
    return {"type": "function", "function": described_function}


def _schema(name: str, tool: object) -> dict[str, Any]:
    if inspect.isfunction(tool) or inspect.ismethod(tool):
        return function_schema(tool, name)
    if isinstance(tool, type) or callable(tool):
        raise WrongType(name, tool, "a JSON schema (a dict), a Python function or a method")
    schema = json_value(name, tool)
    if not isinstance(schema, dict) or not schema:
        raise WrongType(name, tool, "a JSON schema such as {'type': 'function', 'function': {'name': …}}")
    return schema


def _description(text: str, name: str) -> dict[str, Any]:
    """Return a description, and the choices that it ends with as an enum."""
    choices = _CHOICES.fullmatch(text)
    if choices is None:
        return {"description": text}
    try:
        listed = json.loads(choices["list"])
    except ValueError as error:
        raise InvalidArgument(
            name, text, 'described with (choices: …) and a JSON list: ["a", "b"]'
        ) from error
    enum = [choice.strip() if isinstance(choice, str) else choice for choice in listed]
    return {"enum": enum, "description": choices["text"].strip()}


def _return_schema(hints: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the schema of the return value; None without a type hint that JSON can express."""
    if "return" not in hints:
        return None
    try:
        return _type_schema(hints["return"], "return")
    except InvalidArgument:  # the model never produces the return value, so its schema is optional
        return None


def _type_schema(hint: Any, name: str) -> dict[str, Any]:
    origin, args = get_origin(hint), get_args(hint)
    if origin is None:
        return _plain_type(hint, name)
    if origin is Union or origin is types.UnionType:
        return _union(args, name)
    if origin is Literal and all(type(value) in _SCALAR_TYPES for value in args):
        return _enum(list(args))
    return _container(hint, name)


def _container(hint: Any, name: str) -> dict[str, Any]:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (list, tuple, dict) and not args:  # typing.List and its like
        return {"type": _JSON_TYPES[origin]}
    if origin is list:
        return {"type": "array", "items": _type_schema(args[0], name)}
    if origin is tuple and len(args) > 1 and ... not in args:
        return {"type": "array", "prefixItems": [_type_schema(item, name) for item in args]}
    if origin is dict:
        return {"type": "object", "additionalProperties": _type_schema(args[1], name)}
    raise _not_expressible(hint, name)


def _plain_type(hint: Any, name: str) -> dict[str, Any]:
    if hint is Any:
        return {}
    if isinstance(hint, type) and issubclass(hint, Enum):
        values = [member.value for member in hint]
        if values and all(type(value) in _SCALAR_TYPES for value in values):
            return _enum(values)
    try:
        return {"type": _JSON_TYPES[hint]}
    except (KeyError, TypeError):
        raise _not_expressible(hint, name) from None


def _union(args: Sequence[Any], name: str) -> dict[str, Any]:
    members = [_type_schema(member, name) for member in args if member is not type(None)]
    if len(members) == 1:
        schema = members[0]
    elif all(member.keys() == {"type"} and isinstance(member["type"], str) for member in members):
        names = sorted({member["type"] for member in members})
        schema = {"type": names[0] if len(names) == 1 else names}
    else:
        schema = {"anyOf": members}
    return {**schema, "nullable": True} if type(None) in args else schema


def _enum(values: list[Any]) -> dict[str, Any]:
    names = list(dict.fromkeys(_SCALAR_TYPES[type(value)] for value in values))
    return {"type": names[0] if len(names) == 1 else names, "enum": values}


def _not_expressible(hint: Any, name: str) -> InvalidArgument:
    expected = (
        "of a type that JSON has: str, int, float, bool, list, dict, tuple, Literal, Enum or a union of these"
    )
    return InvalidArgument(name, hint, f"{expected} (or pass the tool as a JSON schema)")
