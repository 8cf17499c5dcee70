"""A jinja environment for templates that strangers wrote: no way out of it, and no way to keep it busy.

jinja's own sandbox keeps a template from Python's internals. It does not keep one from looping for a week or
from making a text of a terabyte. So a template may use what `allowed` lists, and all that it does is charged
to a budget: calls and operators here and in `charges`, the rest by what `metering` puts into its tree.
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

from litgpt.adapters.text.budget import PART, budget, size, spend, weigh
from litgpt.adapters.text.charges import (
    charge_braces,
    charge_method,
    charge_operator,
    metered_filters,
    metered_tests,
)
from litgpt.adapters.text.escaped_search import like, searchable
from litgpt.adapters.text.metering import Meter
from litgpt.domain.special_tokens import ESCAPE

_LONGEST = 100_000  # characters of a template; those of real models have a few thousand
_OF_JINJA = ("_loop_vars", "_block_vars")  # what compiled templates pass to every call besides its arguments
_ESCAPE_IN_ASCII = json.dumps(ESCAPE)[1:-1]
_WIDTH_OF_TIME = re.compile(r"%[^A-Za-z%]*\d")


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment that Hugging Face's chat templates are written for, with a budget."""

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))
    intercepted_unops = frozenset(("+", "-"))

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_Generation, loopcontrols],
            finalize=self.weighed,
        )
        self.filters = {**metered_filters(self.filters), "tojson": _tojson}
        self.tests = metered_tests(self.tests)
        self.globals = {
            "range": _range,
            "dict": _dict,
            "namespace": _Namespace,
            "raise_exception": _raise_exception,
            "strftime_now": _strftime_now,
        }

    @staticmethod
    def spent(characters: int) -> bool:
        """Charge a number, and be true, so that it can stand in a condition."""
        spend(characters)
        return True

    @staticmethod
    def weighed(value: object) -> object:
        """Charge a value for all that is in it, and pass it on."""
        weigh(value)
        return value

    @staticmethod
    def searched(value: object) -> object:
        """Charge a value in which something is looked for, and pass it on."""
        weigh(value)
        return searchable(value)

    @staticmethod
    def sized(value: object) -> object:
        """Charge a value that is about to be copied, and pass it on."""
        spend(size(value))
        return value

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Charge an operator."""
        charge_operator(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def call_unop(self, context: Context, operator: str, arg: Any) -> Any:
        """Charge a sign."""
        charge_operator(operator, arg)
        return super().call_unop(context, operator, arg)

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Charge a call; of Python's own methods, let those pass that templates use."""
        given = {name: value for name, value in kwargs.items() if name not in _OF_JINJA}
        spend(PART * (1 + len(args) + len(given)))
        of = getattr(function, "__self__", None)
        if isinstance(of, LoopContext):
            weigh(*args)
        elif of is not None:
            args = like(of, function.__name__, charge_method(of, function.__name__, args, given))
        return super().call(context, function, *args, **kwargs)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Charge `"…".format(…)`, which jinja makes safe otherwise."""
        safe = super().wrap_str_format(value)
        if safe is None:
            return None

        def charging(*args: Any, **kwargs: Any) -> str:
            charge_braces(value.__self__, (args, kwargs))
            return safe(*args, **kwargs)

        return charging


class _Generation(Extension):
    """`{% generation %}` marks, for training, what the assistant said; here it is what it encloses."""

    tags = {"generation"}  # noqa: RUF012, jinja declares it so

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body).set_lineno(line)


@lru_cache(maxsize=16)
def compiled(source: str) -> Template:
    """Compile a template once.

    Raises:
        jinja2.TemplateSyntaxError: It is no template.
        jinja2.exceptions.SecurityError: It is too long, or sets what it should not.

    """
    if len(source) > _LONGEST:
        raise SecurityError(f"it is longer than {_LONGEST} characters.")
    sandbox = Sandbox()
    with budget():  # jinja computes what is constant while it compiles
        return sandbox.from_string(Meter(sandbox).visit(sandbox.parse(source)))


def _tojson(
    value: object,
    ensure_ascii: bool = False,  # noqa: FBT001, FBT002, templates pass it by position
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,  # noqa: FBT001, FBT002
) -> str:
    """Return JSON as Hugging Face's templates expect it: not escaped for HTML."""
    if isinstance(indent, str) or (indent is not None and indent > 8):
        raise SecurityError("it indents JSON by more than 8.")
    encoder = json.JSONEncoder(
        ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
    # Charged as it is made: how deep it is says how long it gets. An escape is not part of the text.
    return "".join(_charged(encoder.iterencode(value))).replace(_ESCAPE_IN_ASCII, ESCAPE)


def _charged(parts: Iterable[str]) -> Iterator[str]:
    for part in parts:
        spend(PART + len(part))
        yield part


def _range(*bounds: int) -> range:
    numbers = safe_range(*bounds)
    spend(len(numbers))
    return numbers


def _dict(*args: Any, **kwargs: Any) -> dict[Any, Any]:
    made = dict(*args, **kwargs)
    weigh(made)
    return made


class _Namespace(Namespace):
    """What `namespace()` makes. Written out it would be as long as all that is in it."""

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
        raise SecurityError(f"it asks for a time with a width: {written[:40]!r}.")
    spend(len(written) * PART)
    return datetime.now().astimezone().strftime(written)
