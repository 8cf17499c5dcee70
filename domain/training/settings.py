"""The kinds of settings of a training run, each with its check."""

import math
from typing import Any

import attrs

from litgpt.domain.errors import BadArgument, WrongType
from litgpt.domain.numeric import as_integer, as_real


def one_of(*allowed: object) -> Any:
    """Return a validator of a setting that has one of a few values."""

    def check(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
        if value not in allowed:
            raise BadArgument(field.name, value, f"one of {', '.join(map(repr, allowed))}")

    return check


def whole(least: int, *, none: bool = False) -> Any:
    """Return a converter of a setting that is a whole number."""
    return as_integer(least, f"a whole number from {least}{' or None' if none else ''}", none=none)


def number(least: float, most: float = math.inf, *, none: bool = False) -> Any:
    """Return a converter of a setting that is a number."""
    bounds = f"from {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
    return as_real(least, f"a number {bounds}{' or None' if none else ''}", most=most, none=none)


def text(*, none: bool = False) -> Any:
    """Return a validator of a setting that is a text."""

    def check(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
        if not (isinstance(value, str) and value) and not (none and value is None):
            raise WrongType(field.name, value, f"a text{' or None' if none else ''}")

    return check


def flag(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    """Check a setting that is True or False."""
    if not isinstance(value, bool):
        raise WrongType(field.name, value, "True or False")


def flag_or_none(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    """Check a setting that is True, False or None."""
    if not (value is None or isinstance(value, bool)):
        raise WrongType(field.name, value, "True, False or None")


def setting(help_text: str, check: Any = None, **how: Any) -> Any:
    """Return a field with a validator and the help that commands and help() show."""
    return attrs.field(validator=check, metadata={"help": help_text}, **how)
