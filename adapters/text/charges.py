"""Charge a template's filters, tests, methods and operators for their input and output, before they run."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from inspect import signature
from typing import Any

from jinja2.exceptions import SecurityError

from litgpt.adapters.text import allowed
from litgpt.adapters.text.budget import PART, TooCostly, size, spend, weigh
from litgpt.adapters.text.escaped_search import like

_PLACE = 100  # upper bound on the padding of a format field
# A width of 100 or more, a width from a value, or (after `%`) a name, which could hide a width.
_WIDE_PERCENT = re.compile(r"%[#0\- +]*\d*\.?(?:\d{3}|\*)|%\(")
_WIDE_BRACES = re.compile(r"\{[^{}]*:[^{}]*(?:\d{3}|\{)")
_LARGEST = 2**63  # limit of integers


def metered_filters(filters: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Return the allowed filters, wrapped to charge the budget."""
    return {
        name: _metered_filter(name, filters[name])
        for name in allowed.PASSING | allowed.BY_PARTS | allowed.BY_TEXT
    }


def metered_tests(tests: Mapping[str, Any]) -> dict[str, Any]:
    """Return the allowed tests, wrapped to charge the budget."""
    compared = {name: _metered_test(tests[name]) for name in allowed.COMPARING}
    return {**{name: tests[name] for name in allowed.ASKING_FOR_A_TYPE}, **compared}


def charge_method(of: object, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
    """Charge a method call on a string, list, tuple or dict, and return its arguments.

    Raises:
        SecurityError: The method is not allowed.
        TooCostly: The budget is exhausted.

    """
    kind = next((base for base in allowed.METHODS if isinstance(of, base)), None)
    if kind is None or name not in allowed.METHODS[kind]:
        raise SecurityError(f"it may not call {name} of {type(of).__name__}.")
    if isinstance(of, dict):
        spend(size(of) if name == "copy" else PART)
        return args
    if isinstance(of, str) and name == "join":
        parts = [*args[0]] if isinstance(args[0], Iterable) else args[0]
        weigh(parts)
        spend(size(parts) * len(of))
        return (parts, *args[1:])
    weigh(of, *args, *kwargs.values())
    if isinstance(of, str):
        _spend_numbers((*args, *kwargs.values()))
        texts = [argument for argument in (*args, *kwargs.values()) if isinstance(argument, str)]
        if name == "replace" and len(texts) > 1:
            spend(of.count(texts[0]) * len(texts[1]))
        elif name in allowed.QUADRATIC:
            spend(len(of) * sum(map(len, texts)))
        if name in ("rsplit", "split", "splitlines"):
            spend((of.count(texts[0]) if texts and texts[0] else len(of)) * PART)
    return args


def charge_operator(operator: str, *operands: Any) -> None:
    """Charge the result of an operator before it is computed."""
    for operand in operands:
        _refuse_large(operand)
    left, right = operands[0], operands[-1]
    if operator == "%" and isinstance(left, str):
        _charge_format(left, right, refused=_WIDE_PERCENT)
    elif operator == "**":
        _refuse_large(right, than=_LARGEST.bit_length())
    elif operator == "*":
        repeated = isinstance(left, int) != isinstance(right, int)  # "ab" * 3, or 3 * "ab"
        spend(_factor(left, repeated=repeated) * _factor(right, repeated=repeated))
    else:
        spend(sum(map(size, operands)))


def charge_braces(written: str, values: object) -> None:
    """Charge `"{} and {}".format(…)`."""
    _charge_format(written.replace("{{", "").replace("}}", ""), values, refused=_WIDE_BRACES)


def _metered_filter(name: str, of_jinja: Callable[..., Any]) -> Callable[..., Any]:
    at = 1 if hasattr(of_jinja, "jinja_pass_arg") else 0  # some filters take the environment first

    @wraps(of_jinja)
    def charging(*args: Any, **kwargs: Any) -> Any:
        value, others = args[at], (*args[at + 1 :], *kwargs.values())
        if name in allowed.BY_PARTS:
            spend(size(value) * (PART if isinstance(value, str) else 1))
            weigh(*others)
            _spend_numbers(others)
        elif name in allowed.BY_TEXT:
            value = [*value] if isinstance(value, Iterator) else value
            weigh(value, *others)
            if name in allowed.GROWING:
                _charge_growth(name, value, signature(of_jinja).bind(*args, **kwargs).arguments)
        positional = like(value, name, args[at + 1 :]) if name == "replace" else args[at + 1 :]
        made = of_jinja(*args[:at], value, *positional, **kwargs)
        _refuse_large(made)
        return _one_by_one(made) if isinstance(made, Iterator) else made

    return charging


def _metered_test(of_jinja: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(of_jinja)
    def charging(*args: Any, **kwargs: Any) -> Any:
        weigh(*args, *kwargs.values())
        return of_jinja(*args, **kwargs)

    return charging


def _charge_growth(name: str, value: Any, given: Mapping[str, Any]) -> None:
    """Charge the growth of a filter's result over its input."""
    match name:
        case "replace":
            spend(str(value).count(str(given["old"])) * len(str(given["new"])))
        case "indent":
            width = given.get("width", 4)
            spend((len(str(value).splitlines()) + 1) * (len(width) if isinstance(width, str) else width))
        case "join":
            spend(size(value) * len(str(given.get("d", ""))))
        case "trim":
            spend(len(str(value)) * len(str(given.get("chars") or "")))
        case "title":
            spend(size(value) * PART)
        case "format":
            _charge_format(str(value), (given.get("args"), given.get("kwargs")), refused=_WIDE_PERCENT)
        case "round":
            spend(abs(given.get("precision", 0)) * PART)


def _charge_format(written: str, values: object, *, refused: re.Pattern[str]) -> None:
    spend(len(written))
    if refused.search(written.replace("%%", "")):
        raise SecurityError(
            f"it formats with a width that is large or variable, or by key: {written[:40]!r}."
        )
    weight = weigh(values)
    spend((written.count("%") + written.count("{")) * (weight + _PLACE))


def _one_by_one(made: Iterator[Any]) -> Iterator[Any]:
    for item in made:
        spend(PART)
        yield item


def _refuse_large(value: object, *, than: int = _LARGEST) -> None:
    if isinstance(value, int) and abs(value) > than:
        raise TooCostly


def _spend_numbers(values: Iterable[object]) -> None:
    """Charge widths and counts."""
    spend(sum(abs(value) for value in values if isinstance(value, int)))


def _factor(value: Any, *, repeated: bool) -> int:
    return max(value, 0) if repeated and isinstance(value, int) else size(value)
