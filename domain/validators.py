"""Validators of arguments and settings: integers, numbers, flags, choices and paths.

A validator returns the normalized value or raises `InvalidArgument` with the expected value. Scalars of NumPy
and torch, fractions and decimals become `int` and `float`.
"""

import math
import operator
import os
import re
import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeGuard

import attrs

from litgpt.domain.errors import InvalidArgument, MissingArgument, WrongType

_LONGEST_NAME = 255
"""Maximum bytes of a file name on all common file systems."""

_LONGEST_PATH = 4095

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_integer(value: object, least: int | None = None) -> TypeGuard[int]:
    """Whether a value of a JSON, YAML or GGUF file is an integer, not a boolean, and at least `least`."""
    return isinstance(value, int) and not isinstance(value, bool) and (least is None or value >= least)


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value of a JSON, YAML or GGUF file is a finite number, not a boolean."""
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and abs(value) <= sys.float_info.max  # False for NaN, exact for integers beyond the range of floats
    )


def integer(name: str, value: Any, least: int, expected: str | None = None) -> int:
    """Return an argument as an int of at least `least`.

    Raises:
        WrongType: It is not an integer, or it is a boolean.
        InvalidArgument: It is too small; the message has `expected`.
    """
    expected = expected or integers_from(least)
    if _is_flag(value):
        raise WrongType(name, value, expected)
    try:
        number = operator.index(value)
    except TypeError as error:
        raise WrongType(name, value, expected) from error
    if number < least:
        raise InvalidArgument(name, value, expected)
    return number


def real(
    name: str,
    value: Any,
    least: float = 0,
    most: float = math.inf,
    *,
    below: float = math.inf,
    above: float = -math.inf,
    more: str = "",
) -> float:
    """Return an argument as a finite float from `least` to `most`, less than `below`, and more than `above`.

    Raises:
        WrongType: It is not a number, or it is a boolean or a string.
        InvalidArgument: It is NaN, infinite or out of bounds; `more` names other valid values, as " or None".
    """
    expected = _numbers_from(least, most, below, above) + more
    if _is_flag(value) or not hasattr(type(value), "__float__"):
        raise WrongType(name, value, expected)
    try:
        number = float(value)
    except OverflowError as error:  # an integer beyond the range of floats
        raise InvalidArgument(name, value, expected) from error
    except (TypeError, ValueError, RuntimeError) as error:  # an array of several numbers
        raise WrongType(name, value, expected) from error
    if not (least <= number <= most and above < number < below and math.isfinite(number)):
        raise InvalidArgument(name, value, expected)
    return number


def flag(name: str, value: object, *, none: bool = False) -> None:
    """Check that an argument is True or False, or None with `none`; 0 and "yes" are a WrongType."""
    if not (isinstance(value, bool) or (none and value is None)):
        raise WrongType(name, value, "True, False or None" if none else "True or False")


def local_path(name: str, value: object) -> Path:
    """Return an argument as a path, with `~` expanded; a URL is not valid."""
    if not isinstance(value, (str, os.PathLike)):
        raise WrongType(name, value, "a path")
    if isinstance(value, str) and _URL.match(value):
        raise InvalidArgument(name, value, "a local path; download the file first")
    try:
        path = Path(value).expanduser()
        raw = os.fsencode(path)
    except RuntimeError as error:
        raise InvalidArgument(name, str(value), "a path in the home of a user of this machine") from error
    except (ValueError, TypeError) as error:  # a lone surrogate, or a path of bytes
        raise InvalidArgument(name, str(value), "a path in text that the file system can encode") from error
    if b"\0" in raw:
        raise InvalidArgument(name, str(value), "a path without NUL characters")
    if len(raw) > _LONGEST_PATH or max(map(len, raw.split(os.sep.encode()))) > _LONGEST_NAME:
        expected = f"a path of at most {_LONGEST_PATH} bytes, with names of at most {_LONGEST_NAME}"
        raise InvalidArgument(name, str(value), expected)
    return path


# ---------------------------------------------------------------------------------------------------------
# For attrs fields. The return type is Any, as mypy's plugin rejects converters that a call returns.


def integer_field(default: int | None, least: int) -> Any:
    """Return a field for an integer, or None if that is its default."""
    return attrs.field(default=default, converter=as_integer(least, none=default is None))


def real_field(
    default: float,
    most: float = math.inf,
    *,
    least: float = 0,
    below: float = math.inf,
    above: float = -math.inf,
) -> Any:
    """Return a field for a number, which is not negative by default."""
    return attrs.field(
        default=default,
        converter=_converter(
            lambda name, value: real(name, value, least, most, below=below, above=above), none=False
        ),
    )


def as_integer(least: int, *, none: bool = False) -> Any:
    """Return a converter for an integer, or None with `none`."""
    expected = integers_from(least) + _or_none(none)
    return _converter(lambda name, value: integer(name, value, least, expected), none=none)


def as_real(most: float = math.inf, *, below: float = math.inf, none: bool = False) -> Any:
    """Return a converter for a non-negative number, or None with `none`."""
    suffix = _or_none(none)
    return _converter(lambda name, value: real(name, value, 0, most, below=below, more=suffix), none=none)


def is_flag(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    """Validate a boolean field."""
    flag(field.name, value)


def is_flag_or_none(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    """Validate a boolean field that may be None."""
    flag(field.name, value, none=True)


def is_name_or_none(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    """Validate a string field that may be None."""
    if value is not None and not isinstance(value, str):
        raise WrongType(field.name, value, "a string or None")


def one_of(*allowed: object) -> Any:
    """Return a validator for a field with a fixed set of values."""

    def check(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
        if value not in allowed:
            expected = f"one of {', '.join(map(repr, allowed))}"
            raise InvalidArgument(field.name, value, expected, similar_choices(value, allowed))

    return check


def similar_choices(value: object, allowed: Iterable[object]) -> tuple[str, ...]:
    """Return the choice that a misspelled value resembles most, if any."""
    names = [name for name in allowed if isinstance(name, str)]
    return tuple(get_close_matches(value.lower(), names, n=1)) if isinstance(value, str) else ()


def text(*, none: bool = False) -> Any:
    """Return a validator for a non-empty string."""

    def check(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
        if value is None and (remedy := field.metadata.get("missing")):
            raise MissingArgument(field.name, value, remedy)
        if not (isinstance(value, str) and value) and not (none and value is None):
            raise WrongType(field.name, value, f"a string that is not empty{_or_none(none)}")

    return check


def setting(help_text: str, check: Any = None, *, missing: str = "", **kwargs: Any) -> Any:
    """Return a field with a validator and a help text for `--help` and help().

    `missing` is the remedy in the error if a required setting is missing.
    """
    return attrs.field(validator=check, metadata={"help": help_text, "missing": missing}, **kwargs)


def integers_from(least: int) -> str:
    """Describe the integers from `least` for a message."""
    usual = {0: "a non-negative integer", 1: "a positive integer"}
    return usual.get(least, f"an integer of at least {least}")


def _numbers_from(least: float, most: float, below: float, above: float) -> str:
    if above > -math.inf:
        return f"a finite number above {above:g}" + (f", at most {most:g}" if most < math.inf else "")
    if below < math.inf:
        return f"a number from {least:g} to below {below:g}"
    if most < math.inf:
        return f"a number from {least:g} to {most:g}"
    return f"a finite number of at least {least:g}"


def _or_none(none: bool) -> str:  # noqa: FBT001 - private
    return " or None" if none else ""


def _converter(convert: Callable[[str, Any], Any], *, none: bool) -> Any:
    def named(value: Any, field: "attrs.Attribute[Any]") -> Any:
        return None if none and value is None else convert(field.name, value)

    return attrs.Converter(named, takes_field=True)


def _is_flag(value: object) -> bool:
    # NumPy's and torch's booleans are not subclasses of bool, but convert to 0 and 1.
    return isinstance(value, bool) or "bool" in str(getattr(value, "dtype", ""))
