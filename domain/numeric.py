"""Numbers that a caller passes: Python's own, NumPy's and torch's scalars, fractions and decimals.

They become `int` and `float` here, so that everything after it (JSON, comparisons, torch) sees nothing else.
"""

import math
import operator
from collections.abc import Callable
from typing import Any

import attrs

from litgpt.domain.errors import BadArgument, WrongType


def integer(name: str, value: Any, *, least: int, expected: str) -> int:
    """Return `value` as an int.

    Args:
        name: The argument, as the caller wrote it.
        value: What was passed.
        least: The smallest that is allowed.
        expected: What would have been right, to follow "must be".

    Raises:
        WrongType: It is not an integer. True and False are not.
        BadArgument: It is smaller than `least`.

    """
    if _is_flag(value):
        raise WrongType(name, value, expected)
    try:
        number = operator.index(value)
    except TypeError as error:
        raise WrongType(name, value, expected) from error
    if number < least:
        raise BadArgument(name, value, expected)
    return number


def real(name: str, value: Any, *, least: float, most: float = math.inf, expected: str) -> float:
    """Return `value` as a finite float from `least` to `most`.

    Args:
        name: The argument, as the caller wrote it.
        value: What was passed.
        least: The smallest that is allowed.
        most: The largest.
        expected: What would have been right, to follow "must be".

    Raises:
        WrongType: It is not a number. True, False and text are not.
        BadArgument: It is NaN, infinite or out of bounds.

    """
    if _is_flag(value) or not hasattr(type(value), "__float__"):
        raise WrongType(name, value, expected)
    try:
        number = float(value)
    except OverflowError as error:  # an int that no float can hold
        raise BadArgument(name, value, expected) from error
    except (TypeError, ValueError, RuntimeError) as error:  # an array of several numbers
        raise WrongType(name, value, expected) from error
    if not (least <= number <= most and math.isfinite(number)):
        raise BadArgument(name, value, expected)
    return number


def as_integer(least: int, expected: str, *, none: bool = False) -> Any:
    """Return a converter for an attrs field that holds an integer, or None where that is allowed."""
    return _converter(lambda name, value: integer(name, value, least=least, expected=expected), none=none)


def as_real(least: float, expected: str, *, most: float = math.inf, none: bool = False) -> Any:
    """Return a converter for an attrs field that holds a real number, or None where that is allowed."""
    return _converter(
        lambda name, value: real(name, value, least=least, most=most, expected=expected), none=none
    )


def integer_field(default: int | None, least: int, expected: str, *, none: bool = False) -> Any:
    """Return an attrs field that holds an integer, or None where that is allowed."""
    # A function of its own, for mypy's plugin refuses converters that are made by a call.
    return attrs.field(default=default, converter=as_integer(least, expected, none=none))


def real_field(default: float, least: float, expected: str, *, most: float = math.inf) -> Any:
    """Return an attrs field that holds a real number."""
    return attrs.field(default=default, converter=as_real(least, expected, most=most))


def _converter(convert: Callable[[str, Any], Any], *, none: bool) -> Any:
    def named(value: Any, field: "attrs.Attribute[Any]") -> Any:
        return None if none and value is None else convert(field.name, value)

    return attrs.Converter(named, takes_field=True)


def _is_flag(value: object) -> bool:
    # NumPy's and torch's booleans are not subclasses of bool, but convert to 0 and 1.
    return isinstance(value, bool) or "bool" in str(getattr(value, "dtype", ""))
