"""A Jinja environment for untrusted templates, with an allowlist and a cost limit.

Jinja's sandbox protects Python's internals, but does not limit time and memory. Here, templates can only use
the features in `allowlist`, and all operations are charged to a budget: calls and operators here and in
`costs`, the others by the calls that `instrument` inserts.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

from jinja2 import Template, nodes
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range
from jinja2.utils import Namespace

from litgpt.adapters.tokenization.chat_template.budget import (
    ELEMENT_COST,
    budget,
    charge,
    charge_deep_size,
    shallow_size,
)
from litgpt.adapters.tokenization.chat_template.costs import (
    charge_method,
    charge_operator,
    charge_str_format,
    charged_filters,
    charged_tests,
)
from litgpt.adapters.tokenization.chat_template.escaped_search import escape_arguments, searchable
from litgpt.adapters.tokenization.chat_template.instrument import CostInstrumenter
from litgpt.domain.chat.special_token_escapes import ESCAPE

_MAX_TEMPLATE = 100_000  # characters of a template; published ones have a few thousand
_JINJA_INTERNALS = ("_loop_vars", "_block_vars")  # additional arguments of every call in compiled templates
_ESCAPE_IN_ASCII = json.dumps(ESCAPE)[1:-1]
_WIDTH_OF_TIME = re.compile(r"%[^A-Za-z%]*\d")


class Sandbox(ImmutableSandboxedEnvironment):
    """The Jinja environment of transformers' chat templates, with a budget."""

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))
    intercepted_unops = frozenset(("+", "-"))

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_Generation, loopcontrols],
            finalize=self.weighed,
        )
        self.filters = {**charged_filters(self.filters), "tojson": _tojson}
        self.tests = charged_tests(self.tests)
        self.globals = {
            "range": _range,
            "dict": _dict,
            "namespace": _Namespace,
            "raise_exception": _raise_exception,
            "strftime_now": _strftime_now,
        }

    @staticmethod
    def spent(characters: int) -> bool:
        """Charge a number and return True, for use in conditions."""
        charge(characters)
        return True

    @staticmethod
    def weighed(value: object) -> object:
        """Charge the recursive size of a value, and return the value."""
        charge_deep_size(value)
        return value

    @staticmethod
    def searched(value: object) -> object:
        """Charge the right operand of `in`, and return it in searchable form."""
        charge_deep_size(value)
        return searchable(value)

    @staticmethod
    def sized(value: object) -> object:
        """Charge the copy of a value, and return the value."""
        charge(shallow_size(value))
        return value

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        charge_operator(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def call_unop(self, context: Context, operator: str, arg: Any) -> Any:
        charge_operator(operator, arg)
        return super().call_unop(context, operator, arg)

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Charge a call, and refuse methods of built-in types that are not allowed."""
        keywords = {name: value for name, value in kwargs.items() if name not in _JINJA_INTERNALS}
        charge(ELEMENT_COST * (1 + len(args) + len(keywords)))
        of = getattr(function, "__self__", None)
        if isinstance(of, LoopContext):
            charge_deep_size(*args)
        elif of is not None:
            args = escape_arguments(
                of, function.__name__, charge_method(of, function.__name__, args, keywords)
            )
        return super().call(context, function, *args, **kwargs)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Charge `"…".format(…)`, which Jinja's sandbox wraps."""
        safe = super().wrap_str_format(value)
        if safe is None:
            return None

        def charging(*args: Any, **kwargs: Any) -> str:
            charge_str_format(value.__self__, (args, kwargs))
            return safe(*args, **kwargs)

        return charging


class _Generation(Extension):
    """`{% generation %}` marks assistant text for training; it renders as its body."""

    tags = {"generation"}  # noqa: RUF012, jinja declares it so

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body).set_lineno(line)


@lru_cache(maxsize=16)
def compile_template(source: str) -> Template:
    """Compile a template, with a cache; a forbidden feature raises jinja2's SecurityError."""
    if len(source) > _MAX_TEMPLATE:
        raise SecurityError(f"it is longer than {_MAX_TEMPLATE} characters.")
    sandbox = Sandbox()
    with budget():  # Jinja evaluates constant expressions during compilation
        return sandbox.from_string(CostInstrumenter(sandbox).visit(sandbox.parse(source)))


def _tojson(
    value: object,
    ensure_ascii: bool = False,  # noqa: FBT001, FBT002, templates pass it by position
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,  # noqa: FBT001, FBT002
) -> str:
    """Return JSON without HTML escaping, as in transformers."""
    if isinstance(indent, str) or (indent is not None and indent > 8):
        raise SecurityError("it indents JSON by more than 8.")
    encoder = json.JSONEncoder(
        ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
    # Charged incrementally, because indentation grows with depth. ESCAPE must stay a single character.
    return "".join(_charged_parts(encoder.iterencode(value))).replace(_ESCAPE_IN_ASCII, ESCAPE)


def _charged_parts(parts: Iterable[str]) -> Iterator[str]:
    for part in parts:
        charge(ELEMENT_COST + len(part))
        yield part


def _range(*bounds: int) -> range:
    numbers = safe_range(*bounds)
    charge(len(numbers))
    return numbers


def _dict(*args: Any, **kwargs: Any) -> dict[Any, Any]:
    made = dict(*args, **kwargs)
    charge_deep_size(made)
    return made


class _Namespace(Namespace):
    """The result of `namespace()`, with a short repr, since a full one could be arbitrarily long."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        for name, value in _dict(*args, **kwargs).items():
            self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            raise SecurityError(f"it may not set {name!r}.")
        super().__setitem__(name, value)

    def __repr__(self) -> str:
        return "<namespace>"


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


def _strftime_now(written: str) -> str:
    if _WIDTH_OF_TIME.search(written):
        raise SecurityError(f"it formats a time with a width: {written[:40]!r}.")
    charge(len(written) * ELEMENT_COST)
    return datetime.now().astimezone().strftime(written)
