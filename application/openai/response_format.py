"""`response_format`, the field of OpenAI's API for answers in JSON."""

from collections.abc import Mapping
from typing import Any

from litgpt.domain.errors import InvalidArgument, WrongType

_TYPES = "text, json_object or json_schema"


def schema_of(response_format: Any) -> Mapping[str, Any] | None:
    """Return the JSON schema of a `response_format`; None for text.

    An object of any form, `json_object`, may have a `schema`, as in llama.cpp's API.

    Raises:
        WrongType: It is not a JSON object.
        InvalidArgument: It has another type, or its schema is missing.
    """
    if not isinstance(response_format, Mapping):
        raise WrongType("response_format", response_format, f"an object with the type {_TYPES}")
    kind = response_format.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        return _schema("response_format.schema", response_format.get("schema", {"type": "object"}))
    if kind == "json_schema":
        described = response_format.get("json_schema")
        schema = described.get("schema") if isinstance(described, Mapping) else None
        return _schema("response_format.json_schema.schema", schema)
    raise InvalidArgument("response_format.type", kind, _TYPES)


def _schema(name: str, schema: Any) -> Mapping[str, Any]:
    if not isinstance(schema, Mapping):
        raise WrongType(name, schema, "a JSON schema, an object")
    return schema
