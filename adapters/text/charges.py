"""What the filters, methods and operators of a template cost, and which of their arguments are refused.

The rule: what is about to be made is charged before it is made.
"""

import re
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

from jinja2.exceptions import SecurityError

from litgpt.adapters.text.budget import size, spend, weigh

_LARGEST = 10_000  # the largest number that a filter or a method may be given: a width, a count
_WIDE = re.compile(r"\d{5}|\{[^{}]*\{|\*")  # a large width in a format, or one that comes from a value
_WITHOUT_USE = ("filesizeformat", "format", "pprint", "random", "urlize", "xmlattr")
_PASSING = ("d", "default", "first", "last", "max", "min", "attr")
_COUNTING = ("count", "length", "sum")
_CHOOSING = ("list", "map", "reject", "rejectattr", "select", "selectattr", "unique")
_ORDERING = ("batch", "dictsort", "groupby", "items", "reverse", "slice", "sort")
_BY_PARTS = frozenset((*_PASSING, *_COUNTING, *_CHOOSING, *_ORDERING))  # they make no text of a list


def metered(filters: dict[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Return filters that charge for what they do, without those that serve no template."""
    return {name: _metered(name, one) for name, one in filters.items() if name not in _WITHOUT_USE}


def _metered(name: str, of_jinja: Callable[..., Any]) -> Callable[..., Any]:
    at = 1 if hasattr(of_jinja, "jinja_pass_arg") else 0  # some are given the environment before the value

    @wraps(of_jinja)
    def charging(*args: Any, **kwargs: Any) -> Any:
        value, others = args[at], (*args[at + 1 :], *kwargs.values())
        refuse_large(*others)
        if name == "join":
            value = list(value) if isinstance(value, Iterator) else value
            spend(size(value) * sum(map(size, others)))
        elif name in ("replace", "indent"):
            _charge_growth(name, str(value), others)
        if name in _BY_PARTS:
            spend(size(value))
        else:
            weigh(value)
        return of_jinja(*args[:at], value, *args[at + 1 :], **kwargs)

    return charging


def charge_method(of: str | int, name: str, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Charge for what a method of a text or a number is about to make, and return its arguments.

    Raises:
        SecurityError: No template needs this.
        TooCostly: It is too much.

    """
    refuse_large(*args)
    spend(size(of))
    if name in ("encode", "translate"):
        raise SecurityError(f"it may not call {name}.")
    if name == "join" and args:
        parts = list(args[0])
        weigh(parts)
        spend(len(parts) * size(of))
        return (parts, *args[1:])
    if name == "replace":
        _charge_growth(name, str(of), args)
    return args


def charge_operator(operator: str, left: Any, right: Any) -> None:
    """Charge for what an operator is about to make."""
    if operator == "%" and isinstance(left, str):
        refuse_wide(left)
        weigh(right)
    elif operator == "**":
        refuse_large(left, right)
    elif operator == "*":
        repeated = isinstance(left, int) != isinstance(right, int)  # "ab" * 3, or 3 * "ab"
        spend(_factor(left, repeated=repeated) * _factor(right, repeated=repeated))
    elif operator == "+":
        spend(size(left) + size(right))


def refuse_large(*values: object) -> None:
    """Refuse a number that is larger than any width or count that a template needs."""
    for value in values:
        if isinstance(value, (int, float)) and abs(value) > _LARGEST:
            raise SecurityError(f"it asks for {value:.4g}, which is more than any template needs.")


def refuse_wide(written: str) -> None:
    """Refuse a format with a width that is large, or that comes from a value."""
    if _WIDE.search(written):
        raise SecurityError(f"it formats with a width that is too large or not fixed: {written[:40]!r}.")


def _factor(value: Any, *, repeated: bool) -> int:
    return max(value, 0) if repeated and isinstance(value, int) else size(value)


def _charge_growth(name: str, text: str, args: tuple[Any, ...]) -> None:
    if name == "replace" and len(args) > 1:
        spend(text.count(str(args[0])) * size(args[1]))
    elif name == "indent":
        width = args[0] if args else 4
        spend((text.count("\n") + 1) * (width if isinstance(width, int) else size(width)))
