"""Conversion to plain JSON values, for chat templates and files."""

import dataclasses
from collections.abc import Mapping
from enum import Enum
from typing import Any

from litgpt.domain.errors import InvalidArgument, WrongType

_MAX_DEPTH = 100


def json_value(name: str, value: object) -> Any:
    """Return a copy of a value with only str, int, float, bool, None, list and dict.

    Mappings, tuples, dataclasses, pydantic models and subclasses of these types are converted, so that an
    untrusted chat template does not get objects with methods of their own.

    Raises:
        WrongType: The value, or a value in it, cannot be represented in JSON.
        InvalidArgument: It is nested too deeply, or contains itself.
    """
    return _copy(name, value, _MAX_DEPTH)


def _copy(name: str, value: object, depth: int) -> Any:
    if not depth:
        raise InvalidArgument(name, "a nested value", f"nested no deeper than {_MAX_DEPTH} levels")
    if isinstance(value, Enum) and not isinstance(value, (str, int, float)):
        value = value.value
    if value is None or isinstance(value, bool):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):
            return value if type(value) is kind else getattr(kind, f"__{kind.__name__}__")(value)
    if isinstance(value, Mapping):
        return {_key(name, key): _copy(f"{name}[{key!r}]", item, depth - 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_copy(f"{name}[{number}]", item, depth - 1) for number, item in enumerate(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return _copy(name, fields, depth)
    if callable(dump := getattr(value, "model_dump", None)) and not isinstance(value, type):
        return _copy(name, dump(), depth)
    raise WrongType(name, value, "a JSON value (a string, number, boolean, None, list or dict)")


def _key(name: str, key: object) -> str:
    if not isinstance(key, str):
        raise WrongType(f"a key of {name}", key, "a string")
    return str.__str__(key)
