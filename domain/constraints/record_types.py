"""Dataclasses and attrs classes as JSON schemas, and their objects from JSON values."""

import dataclasses
import types
from collections.abc import Mapping
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import attrs

from litgpt.domain.errors import InvalidArgument

_SCALARS: Mapping[object, str] = {
    int: "integer",
    float: "number",
    str: "string",
    bool: "boolean",
    type(None): "null",
}


def is_record(hint: object) -> bool:
    """Return whether a type is a dataclass or an attrs class."""
    return isinstance(hint, type) and (dataclasses.is_dataclass(hint) or attrs.has(hint))


def record_schema(record: type) -> dict[str, Any]:
    """Return the JSON schema of a dataclass or an attrs class; fields with defaults are optional.

    Raises:
        InvalidArgument: A field has a type that JSON does not have, or the class contains itself.
    """
    return _schema(record, record.__name__, ())


def build(hint: Any, value: Any) -> Any:
    """Return a JSON value that matches the schema of a type as an object of the type."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _build_member(args, value)
    if isinstance(value, dict) and is_record(hint):
        fields = _fields(hint)
        return hint(**{fields[name].argument: build(fields[name].hint, item) for name, item in value.items()})
    if isinstance(value, dict) and args:
        return {name: build(args[1], item) for name, item in value.items()}
    if isinstance(value, list) and args:
        hints = args if origin is tuple and args[1:] != (...,) else args[:1] * len(value)
        return origin(build(part, item) for part, item in zip(hints, value, strict=True))
    is_converted = hint in (int, float) or (isinstance(hint, type) and issubclass(hint, Enum))
    return hint(value) if is_converted else value


def _build_member(members: tuple[Any, ...], value: Any) -> Any:
    """Return a value as the first member of a union whose schema it can have."""
    for member in members:
        if is_record(member):
            fields = _fields(member)
            required = {name for name, field in fields.items() if field.required}
            fits = isinstance(value, dict) and required <= value.keys() <= fields.keys()
        elif get_origin(member) is Literal:
            fits = value in get_args(member)
        elif isinstance(member, type) and issubclass(member, Enum):
            fits = value in [choice.value for choice in member]
        else:
            kind = get_origin(member) or member
            fits = type(value) in {float: (int, float), tuple: (list,)}.get(kind, (kind,))
        if fits:
            return build(member, value)
    return value


@attrs.frozen
class _Field:
    hint: Any
    required: bool
    argument: str


def _fields(record: Any) -> dict[str, _Field]:
    try:
        hints = get_type_hints(record)
    except NameError as error:
        raise InvalidArgument("schema", record, f"a class whose annotations can be read ({error})") from error
    if attrs.has(record):
        return {
            field.name: _Field(
                hints.get(field.name), field.default is attrs.NOTHING, field.alias or field.name
            )
            for field in attrs.fields(record)
            if field.init
        }
    missing = dataclasses.MISSING
    return {
        field.name: _Field(
            hints[field.name], field.default is missing and field.default_factory is missing, field.name
        )
        for field in dataclasses.fields(record)
        if field.init
    }


def _schema(hint: Any, name: str, within: tuple[type, ...]) -> dict[str, Any]:
    schema = None
    if get_args(hint):
        schema = _generic_schema(get_origin(hint), get_args(hint), name, within)
    elif is_record(hint) and hint not in within:
        schema = _record_schema(hint, name, within)
    elif hint is Any:
        schema = {}
    elif isinstance(hint, type) and issubclass(hint, Enum):
        if all(isinstance(member.value, (str, int, float)) for member in hint):
            schema = {"enum": [member.value for member in hint]}
    elif isinstance(hint, type) and hint in _SCALARS:
        schema = {"type": _SCALARS[hint]}
    if schema is None:
        expected = (
            "made of types that JSON has: str, int, float, bool, list[…], dict[str, …], tuple[…], Literal, "
            f"Enum, None, unions, and classes that do not contain themselves; {name} is not"
        )
        raise InvalidArgument("schema", hint, expected)
    return schema


def _generic_schema(
    origin: Any, args: tuple[Any, ...], name: str, within: tuple[type, ...]
) -> dict[str, Any] | None:
    if origin is Literal:
        return {"enum": list(args)}
    items = [_schema(item, name, within) for item in args if item is not ...]
    if origin in (Union, types.UnionType):
        return {"anyOf": items}
    if origin is list or (origin is tuple and args[1:] == (...,)):
        return {"type": "array", "items": items[0]}
    if origin is tuple:
        return {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}
    if origin is dict and args[0] is str:
        return {"type": "object", "additionalProperties": items[1]}
    return None


def _record_schema(record: type, name: str, within: tuple[type, ...]) -> dict[str, Any]:
    fields = _fields(record)
    return {
        "type": "object",
        "properties": {
            key: _schema(field.hint, f"{name}.{key}", (*within, record)) for key, field in fields.items()
        },
        "required": [key for key, field in fields.items() if field.required],
        "additionalProperties": False,
    }
