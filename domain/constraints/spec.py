"""What users ask for: `schema`, `regex`, `grammar` or `choices`."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import attrs

from litgpt.domain.errors import InvalidArgument, WrongType
from litgpt.domain.formatting.bounded_text import brief_repr

ConstraintKind: TypeAlias = Literal["schema", "regex", "grammar", "choices"]


@attrs.frozen
class ConstraintSpec:
    """A constraint on the text of an answer.

    Attributes:
        kind: The argument that states it.
        source: A JSON schema in JSON, a regular expression or a grammar in Lark's syntax, which the whole
            answer matches; or the strings of which the answer is one.
    """

    kind: ConstraintKind
    source: str | tuple[str, ...]

    __repr__ = brief_repr


def parse_constraint(
    schema: str | None, regex: object, grammar: object, choices: object
) -> ConstraintSpec | None:
    """Return the constraint of a call; None without one. `schema` is in JSON.

    Raises:
        WrongType: A value has another type.
        InvalidArgument: There are several constraints, or a value is empty.
    """
    values = {"schema": schema, "regex": regex, "grammar": grammar, "choices": choices}
    stated = {name: value for name, value in values.items() if value is not None}
    if not stated:
        return None
    if len(stated) > 1:
        first, second, *_ = stated
        raise InvalidArgument(second, stated[second], f"None with {first}: only one constraint is possible")
    if choices is not None:
        return ConstraintSpec("choices", _parse_choices(choices))
    for kind in ("schema", "regex", "grammar"):
        value = stated.get(kind)
        if isinstance(value, str) and value:
            return ConstraintSpec(kind, value)
    name, value = next(iter(stated.items()))
    raise WrongType(name, value, "a non-empty string")


def _parse_choices(value: object) -> tuple[str, ...]:
    expected = "a list of at least one string"
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise WrongType("choices", value, expected)
    if not value or not all(isinstance(choice, str) for choice in value):
        raise InvalidArgument("choices", value, expected)
    return tuple(dict.fromkeys(value))
