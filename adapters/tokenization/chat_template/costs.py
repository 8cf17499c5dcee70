"""Charge a template's filters, tests, methods and operators for their input and output, before they run."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from inspect import signature
from typing import Any

from jinja2.exceptions import SecurityError

from litgpt.adapters.tokenization.chat_template import allowlist
from litgpt.adapters.tokenization.chat_template.budget import (
    ELEMENT_COST,
    BudgetExceeded,
    charge,
    charge_deep_size,
    shallow_size,
)
from litgpt.adapters.tokenization.chat_template.escaped_search import escape_arguments

_PLACEHOLDER_COST = 100  # upper bound on the padding of a format field
# A width of 100 or more, a width from a value, or (after `%`) a name, which could hide a width.
_WIDE_PERCENT = re.compile(r"%[#0\- +]*\d*\.?(?:\d{3}|\*)|%\(")
_WIDE_BRACES = re.compile(r"\{[^{}]*:[^{}]*(?:\d{3}|\{)")
_MAX_INTEGER = 2**63  # limit of integers


def charged_filters(filters: Mapping[str, Callable[..., Any]]) -> dict[str, Callable[..., Any]]:
    """Return the allowed filters, wrapped to charge the budget."""
    return {
        name: _charged_filter(name, filters[name])
        for name in allowlist.FREE_FILTERS | allowlist.ELEMENTWISE_FILTERS | allowlist.TEXT_FILTERS
    }


def charged_tests(tests: Mapping[str, Any]) -> dict[str, Any]:
    """Return the allowed tests, wrapped to charge the budget."""
    compared = {name: _charged_test(tests[name]) for name in allowlist.COMPARISON_TESTS}
    return {**{name: tests[name] for name in allowlist.TYPE_TESTS}, **compared}


def charge_method(of: object, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
    """Charge a method call on a string, list, tuple or dict, and return its arguments."""
    kind = next((base for base in allowlist.ALLOWED_METHODS if isinstance(of, base)), None)
    if kind is None or name not in allowlist.ALLOWED_METHODS[kind]:
        raise SecurityError(f"it may not call {name} of {type(of).__name__}.")
    if isinstance(of, dict):
        charge(shallow_size(of) if name == "copy" else ELEMENT_COST)
        return args
    if isinstance(of, str) and name == "join":
        parts = [*args[0]] if isinstance(args[0], Iterable) else args[0]
        charge_deep_size(parts)
        charge(shallow_size(parts) * len(of))
        return (parts, *args[1:])
    charge_deep_size(of, *args, *kwargs.values())
    if isinstance(of, str):
        _charge_numbers((*args, *kwargs.values()))
        texts = [argument for argument in (*args, *kwargs.values()) if isinstance(argument, str)]
        if name == "replace" and len(texts) > 1:
            charge(of.count(texts[0]) * len(texts[1]))
        elif name in allowlist.QUADRATIC_METHODS:
            charge(len(of) * sum(map(len, texts)))
        if name in ("rsplit", "split", "splitlines"):
            charge((of.count(texts[0]) if texts and texts[0] else len(of)) * ELEMENT_COST)
    return args


def charge_operator(operator: str, *operands: Any) -> None:
    """Charge the result of an operator before it is computed."""
    for operand in operands:
        _reject_large(operand)
    left, right = operands[0], operands[-1]
    if operator == "%" and isinstance(left, str):
        _charge_format(left, right, refused=_WIDE_PERCENT)
    elif operator == "**":
        _reject_large(right, than=_MAX_INTEGER.bit_length())
    elif operator == "*":
        repeated = isinstance(left, int) != isinstance(right, int)  # "ab" * 3, or 3 * "ab"
        charge(_factor(left, repeated=repeated) * _factor(right, repeated=repeated))
    else:
        charge(sum(map(shallow_size, operands)))


def charge_str_format(written: str, values: object) -> None:
    """Charge `"{} and {}".format(…)`."""
    _charge_format(written.replace("{{", "").replace("}}", ""), values, refused=_WIDE_BRACES)


def _charged_filter(name: str, of_jinja: Callable[..., Any]) -> Callable[..., Any]:
    at = 1 if hasattr(of_jinja, "jinja_pass_arg") else 0  # some filters take the environment first

    @wraps(of_jinja)
    def charging(*args: Any, **kwargs: Any) -> Any:
        value, others = args[at], (*args[at + 1 :], *kwargs.values())
        if name in allowlist.ELEMENTWISE_FILTERS:
            charge(shallow_size(value) * (ELEMENT_COST if isinstance(value, str) else 1))
            charge_deep_size(*others)
            _charge_numbers(others)
        elif name in allowlist.TEXT_FILTERS:
            value = [*value] if isinstance(value, Iterator) else value
            charge_deep_size(value, *others)
            if name in allowlist.GROWING_FILTERS:
                _charge_growth(name, value, signature(of_jinja).bind(*args, **kwargs).arguments)
        positional = escape_arguments(value, name, args[at + 1 :]) if name == "replace" else args[at + 1 :]
        made = of_jinja(*args[:at], value, *positional, **kwargs)
        _reject_large(made)
        return _charged_items(made) if isinstance(made, Iterator) else made

    return charging


def _charged_test(of_jinja: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(of_jinja)
    def charging(*args: Any, **kwargs: Any) -> Any:
        charge_deep_size(*args, *kwargs.values())
        return of_jinja(*args, **kwargs)

    return charging


def _charge_growth(name: str, value: Any, arguments: Mapping[str, Any]) -> None:
    """Charge the growth of a filter's result over its input."""
    match name:
        case "replace":
            charge(str(value).count(str(arguments["old"])) * len(str(arguments["new"])))
        case "indent":
            width = arguments.get("width", 4)
            charge((len(str(value).splitlines()) + 1) * (len(width) if isinstance(width, str) else width))
        case "join":
            charge(shallow_size(value) * len(str(arguments.get("d", ""))))
        case "trim":
            charge(len(str(value)) * len(str(arguments.get("chars") or "")))
        case "title":
            charge(shallow_size(value) * ELEMENT_COST)
        case "format":
            _charge_format(
                str(value), (arguments.get("args"), arguments.get("kwargs")), refused=_WIDE_PERCENT
            )
        case "round":
            charge(abs(arguments.get("precision", 0)) * ELEMENT_COST)


def _charge_format(written: str, values: object, *, refused: re.Pattern[str]) -> None:
    charge(len(written))
    if refused.search(written.replace("%%", "")):
        raise SecurityError(
            f"it formats with a width that is large or variable, or by key: {written[:40]!r}."
        )
    weight = charge_deep_size(values)
    charge((written.count("%") + written.count("{")) * (weight + _PLACEHOLDER_COST))


def _charged_items(made: Iterator[Any]) -> Iterator[Any]:
    for item in made:
        charge(ELEMENT_COST)
        yield item


def _reject_large(value: object, *, than: int = _MAX_INTEGER) -> None:
    if isinstance(value, int) and abs(value) > than:
        raise BudgetExceeded


def _charge_numbers(values: Iterable[object]) -> None:
    charge(sum(abs(value) for value in values if isinstance(value, int)))


def _factor(value: Any, *, repeated: bool) -> int:
    return max(value, 0) if repeated and isinstance(value, int) else shallow_size(value)
