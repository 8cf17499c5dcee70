"""Make JSON schemas readable for llguidance, and its errors for users."""

import json
from collections.abc import Mapping
from typing import Any

# What JSON writers put between values. More would let a model write white space up to the maximum length.
JSON_WHITESPACE = r" ?|\n {0,32}"

STANDARD_FORMATS = frozenset(
    (
        "date-time",
        "date",
        "time",
        "duration",
        "email",
        "idn-email",
        "hostname",
        "idn-hostname",
        "ipv4",
        "ipv6",
        "uri",
        "uri-reference",
        "iri",
        "iri-reference",
        "uuid",
        "uri-template",
        "json-pointer",
        "relative-json-pointer",
        "regex",
    )
)
"""The formats that JSON Schema defines; all others are annotations, which restrict nothing."""

_SCHEMAS_BY_NAME = frozenset(
    (
        "properties",
        "patternProperties",
        "$defs",
        "definitions",
        "dependentSchemas",
    )
)
_SCHEMAS = frozenset(
    (
        "items",
        "additionalItems",
        "prefixItems",
        "contains",
        "additionalProperties",
        "propertyNames",
        "unevaluatedItems",
        "unevaluatedProperties",
        "allOf",
        "anyOf",
        "oneOf",
        "not",
        "if",
        "then",
        "else",
    )
)


def prepare_schema(source: str) -> str:
    """Return a schema in JSON without the formats that JSON Schema does not define, such as `path`."""
    return json.dumps(_without_annotations(json.loads(source)), ensure_ascii=False)


def explain(problem: str) -> str:
    """Return the message of llguidance about a schema in terms of what the caller can change."""
    if "coerce_one_of" in problem:
        return "oneOf is only supported if no value can match two of its schemas. Use anyOf instead"
    if "intersection" in problem:
        return f"{problem}: fewer of allOf, and of keywords beside $ref, are needed"
    if "regex is empty" in problem:
        return "the patterns and lengths of one string are too complex together: pattern"
    return problem


def _without_annotations(schema: Any) -> Any:
    if isinstance(schema, list):
        return [*map(_without_annotations, schema)]
    if not isinstance(schema, dict):
        return schema
    return {name: _keyword(name, value) for name, value in schema.items() if not _is_annotation(name, value)}


def _keyword(name: str, value: Any) -> Any:
    if name in _SCHEMAS:
        return _without_annotations(value)
    if name in _SCHEMAS_BY_NAME and isinstance(value, Mapping):
        return {key: _without_annotations(schema) for key, schema in value.items()}
    return value


def _is_annotation(name: str, value: Any) -> bool:
    return name == "format" and isinstance(value, str) and value not in STANDARD_FORMATS
