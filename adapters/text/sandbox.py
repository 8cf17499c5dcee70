"""A jinja environment for templates that strangers wrote: no way out of it, and no way to keep it busy.

jinja's own sandbox keeps a template from Python's internals. It does not keep one from looping for a week or
from making a text of a terabyte, so what a template does is charged to a budget.
"""

import json
import re
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

from jinja2 import Template, nodes
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment, safe_range
from jinja2.utils import Namespace

from litgpt.adapters.text.budget import budget, size, spend, weigh
from litgpt.adapters.text.charges import charge_method, charge_operator, metered, refuse_large, refuse_wide
from litgpt.adapters.text.metering import Meter

_LONGEST = 1_000_000  # characters of a template
_WIDTH_OF_TIME = re.compile(r"%[^A-Za-z%]*\d")


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment that Hugging Face's chat templates are written for, with a budget."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[_Generation, loopcontrols],
            finalize=self.charged,
        )
        self.filters = {**metered(self.filters), "tojson": _tojson}
        self.globals = {
            "range": _range,
            "dict": _dict,
            "namespace": _namespace,
            "raise_exception": _raise_exception,
            "strftime_now": _strftime_now,
        }
        self.spend = spend

    @staticmethod
    def charged(value: object) -> object:
        """Charge a value that is about to become text, and pass it on."""
        weigh(value)
        return value

    @staticmethod
    def counted(value: object) -> object:
        """Charge a list or a mapping that was just made, and pass it on."""
        weigh(value, text=False)
        return value

    @staticmethod
    def sized(value: object) -> object:
        """Charge a value that is about to be gone through once, and pass it on."""
        spend(size(value))
        return value

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Charge an operator."""
        charge_operator(operator, left, right)
        return super().call_binop(context, operator, left, right)

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Charge a method of a text or a number."""
        if isinstance(of := getattr(function, "__self__", None), (str, int)):
            refuse_large(*kwargs.values())
            args = charge_method(of, function.__name__, args)
        return super().call(context, function, *args, **kwargs)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Charge `"…".format(…)`, which jinja makes safe otherwise."""
        safe = super().wrap_str_format(value)
        if safe is None:
            return None

        def charging(*args: Any, **kwargs: Any) -> str:
            refuse_wide(value.__self__)
            weigh((*args, kwargs))
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
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,  # noqa: FBT001, FBT002
) -> str:
    """Return JSON as Hugging Face's templates expect it: not escaped for HTML."""
    if indent is not None and indent > 8:
        raise SecurityError("it indents JSON by more than 8.")
    weigh(value)
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _range(*bounds: int) -> range:
    numbers = safe_range(*bounds)
    spend(len(numbers))
    return numbers


def _dict(*args: Any, **kwargs: Any) -> dict[Any, Any]:
    made = dict(*args, **kwargs)
    weigh(made, text=False)
    return made


def _namespace(*args: Any, **kwargs: Any) -> Namespace:
    made = _dict(*args, **kwargs)
    if any(str(name).startswith("_") for name in made):
        raise SecurityError("it may not set a name that begins with an underscore.")
    return Namespace(made)


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


def _strftime_now(written: str) -> str:
    if _WIDTH_OF_TIME.search(written):
        raise SecurityError(f"it asks for a time with a width: {written[:40]!r}.")
    return datetime.now().astimezone().strftime(written)
