"""How the next token is drawn."""

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import attrs

from litgpt.domain.errors import BadArgument, WrongType

Validator: TypeAlias = Callable[[Any, "attrs.Attribute[Any]", Any], None]


def _number(low: float, high: float, expected: str) -> Validator:
    def check(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise WrongType(field.name, value, expected)
        if not (low <= value <= high) or math.isnan(value) or math.isinf(value):
            raise BadArgument(field.name, value, expected)

    return check


def _count_or_none(low: int, expected: str) -> Validator:
    def check(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
        if value is None:
            return
        if isinstance(value, bool) or not isinstance(value, int):
            raise WrongType(field.name, value, expected)
        if value < low:
            raise BadArgument(field.name, value, expected)

    return check


@attrs.frozen(kw_only=True)
class Sampling:
    """How to draw the next token from the logits: first top_k, then temperature, then top_p.

    Attributes:
        temperature: Divides the logits. 0 always takes the likeliest token.
        top_k: How many of the likeliest tokens to keep. None keeps every token.
        top_p: Keep the likeliest tokens until their probabilities sum to this. 0 takes the likeliest.
        seed: Makes the draw repeatable, whatever else is generated beside it. None draws a seed.

    """

    temperature: float = attrs.field(default=1.0, validator=_number(0, math.inf, "a number, 0 or greater"))
    top_k: int | None = attrs.field(
        default=None, validator=_count_or_none(1, "a whole number from 1, or None")
    )
    top_p: float = attrs.field(default=1.0, validator=_number(0, 1, "a number from 0 to 1"))
    seed: int | None = attrs.field(
        default=None, validator=_count_or_none(0, "a whole number from 0, or None")
    )

    @property
    def greedy(self) -> bool:
        """Whether these settings leave only the likeliest token."""
        return self.temperature == 0 or self.top_p == 0 or self.top_k == 1
