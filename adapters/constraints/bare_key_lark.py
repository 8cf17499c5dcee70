"""Grammars of values like JSON, with keys that are not quoted and strings between marks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from litgpt.domain.tool_calls.deltas import dump_json
from litgpt.domain.tool_calls.grammar import may_have_others
from litgpt.domain.tool_calls.json_stream import schema_types

_SCALARS: Mapping[str, str] = {
    "integer": "/-?(0|[1-9][0-9]{0,15})/",
    "number": r"/-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,15})?/",
    "boolean": '("true" | "false")',
    "null": '"null"',
}
_KEY = "/[a-zA-Z_][a-zA-Z0-9_]{0,31}/"


@attrs.frozen
class BareKeyValues:
    """Writes the grammars of such values.

    Of a schema, the types, `enum`, `const`, `anyOf`, `properties`, `required` and `items` are enforced. The
    size of the grammar grows linearly with that of the schema.

    Attributes:
        text: Returns the grammar of a fixed text.
        string_end: The grammar of the text of a string, and the mark that ends it.
        quote: The mark that begins and ends a string.
        rules: The rules of the grammar, to which those of values without a schema are added.
    """

    text: Callable[[str], str]
    string_end: str
    quote: str
    rules: dict[str, str]

    def value(self, schema: Any) -> str:
        """Return the grammar of a value that matches a schema."""
        if not isinstance(schema, Mapping):  # true: any value
            schema = {}
        if "const" in schema or "enum" in schema:
            values = schema["enum"] if "enum" in schema else [schema["const"]]
            return _one_of(self.text(self._fixed(value)) for value in values)
        if options := schema.get("anyOf") or schema.get("oneOf"):
            return _one_of(self.value(option) for option in options)
        types = schema_types(schema)
        return _one_of(self._of_type(name, schema) for name in types) if types else self._any()

    def _of_type(self, name: str, schema: Mapping[str, Any]) -> str:
        if name in _SCALARS:
            return _SCALARS[name]
        if name == "string":
            return f"({self.text(self.quote)} {self.string_end})"
        if name == "array":
            item = self.value(schema.get("items"))
            return f'("[" ({item} ("," {item})*)? "]")'
        return self._object(schema)

    def _object(self, schema: Mapping[str, Any]) -> str:
        others = f'{_KEY} ":" {self._any()}' if may_have_others(schema) else ""
        properties, required = schema.get("properties"), schema.get("required") or ()
        items = []
        for name, rule in properties.items() if isinstance(properties, Mapping) else ():
            items.append(
                (self._rule("item", f"{self.text(f'{name}:')} {self.value(rule)}"), name in required)
            )
        return f'("{{" {self._separated(items, others)} "}}")'

    def _separated(self, items: Sequence[tuple[str, bool]], others: str) -> str:
        """Return items, each required or not, and any number of others, with commas between them."""
        rest = self._rule("rest", f'("," {others})*') if others else ""
        first = [f"{others} {rest}"] if others else []
        for item, required in reversed(items):
            first = [f"{item} {rest}"] if required else [f"{item} {rest}", *first]
            rest = self._rule("rest", f'"," {item} {rest}' if required else f'("," {item})? {rest}')
        needs_one = any(required for _, required in items)
        return "" if not first else _one_of(first) + ("" if needs_one else "?")

    def _rule(self, name: str, body: str) -> str:
        numbered = f"{name}_{len(self.rules)}"
        self.rules[numbered] = body
        return numbered

    def _any(self) -> str:
        if "any_value" not in self.rules:
            self.rules["any_value"] = ""  # known to the objects and arrays in it
            names = ("string", "number", "boolean", "null", "array", "object")
            self.rules["any_value"] = _one_of(self._of_type(name, {}) for name in names)
        return "any_value"

    def _fixed(self, value: Any) -> str:
        if isinstance(value, str):
            return f"{self.quote}{value}{self.quote}"
        if isinstance(value, Mapping):
            return "{" + ",".join(f"{key}:{self._fixed(item)}" for key, item in value.items()) + "}"
        if isinstance(value, Sequence):
            return "[" + ",".join(map(self._fixed, value)) + "]"
        return dump_json(value)


def _one_of(options: Any) -> str:
    return f"({' | '.join(options)})"
