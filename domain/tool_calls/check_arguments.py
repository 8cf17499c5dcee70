"""Arguments of a call, compared with the JSON schema of the tool."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from litgpt.domain.formatting.bounded_text import short_repr
from litgpt.domain.tool_calls.deltas import dump_json
from litgpt.domain.tool_calls.json_stream import json_type, schema_types


def argument_problems(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with arguments, as sentences for the model; empty if they match the schema.

    The keywords are those that schemas of Python functions have: `type`, `nullable`, `enum`, `anyOf`,
    `properties`, `required`, `items`, `prefixItems` and `additionalProperties`. Others are not checked.
    """
    properties: Mapping[str, Any] = schema.get("properties", {})
    unknown = [name for name in arguments if name not in properties]
    allowed = f"the arguments are {', '.join(properties)}" if properties else "it takes no arguments"
    return [
        *(f"Argument {name!r} does not exist: {allowed}." for name in unknown),
        *_object_problems(arguments, schema, ""),
    ]


def _object_problems(value: Mapping[str, Any], schema: Mapping[str, Any], path: str) -> Iterator[str]:
    properties: Mapping[str, Any] = schema.get("properties", {})
    other = schema.get("additionalProperties")
    for name in schema.get("required", ()):
        if name not in value:
            yield f"The argument {_join(path, name)!r} is missing."
    for name, item in value.items():
        rule = properties.get(name, other)
        if isinstance(rule, Mapping):
            yield from _problems(item, rule, _join(path, name))


def _problems(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[str]:
    if value is None and schema.get("nullable") is True:
        return
    if options := schema.get("anyOf"):
        if not any(not [*_problems(value, option, path)] for option in options):
            yield f"{path!r} is {_describe(value)}, which none of the types in its schema allows."
        return
    types = schema_types(schema)
    if types and not any(_is_type(value, name) for name in types):
        yield f"{path!r} must be {' or '.join(types)}, not {_describe(value)}."
        return
    if "enum" in schema and value not in schema["enum"]:
        yield f"{path!r} must be one of {dump_json(schema['enum'])}, not {_describe(value)}."
    elif isinstance(value, Mapping):
        yield from _object_problems(value, schema, path)
    elif isinstance(value, list):
        yield from _array_problems(value, schema, path)


def _array_problems(value: Sequence[Any], schema: Mapping[str, Any], path: str) -> Iterator[str]:
    rules: Sequence[Any] = schema.get("prefixItems", ())
    if rules and len(rules) != len(value):
        yield f"{path!r} must have {len(rules)} items, not {len(value)}."
        return
    for number, item in enumerate(value):
        rule = rules[number] if rules else schema.get("items")
        if isinstance(rule, Mapping):
            yield from _problems(item, rule, f"{path}[{number}]")


def _is_type(value: Any, name: str) -> bool:
    if name == "number":
        return json_type(value) in ("integer", "number")
    if name == "integer":
        return json_type(value) == "integer" or (isinstance(value, float) and value.is_integer())
    return json_type(value) == name


def _describe(value: Any) -> str:
    return f"the {json_type(value)} {short_repr(value)}"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
