"""Signatures, documentation and tracebacks of public functions.

`**options: Unpack[Options]` types the options of several functions in one place (PEP 692), but help() and
inspect.signature show only its name. `public_function` shows each option.

Tracebacks of a `LitGPTError` omit the frames of the library, as JAX does (`jax_traceback_filtering`).
LITGPT_FULL_TRACEBACKS=1 keeps them; the cause is in `__context__`.
"""

import functools
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter, Signature
from typing import Any, TypeVar, get_args

import attrs

from litgpt.domain.errors import LitGPTError
from litgpt.domain.formatting.bounded_text import join_names
from litgpt.domain.validation.option_names import suggest_name

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_ENTRY_INDENT = 4


@attrs.define(eq=False)
class InvalidCall(LitGPTError, TypeError):
    """A function was called with unexpected arguments, or without a required argument."""

    function: str
    problem: str

    def __str__(self) -> str:
        return f"{self.function}() {self.problem}"


@attrs.frozen
class SharedOptions:
    """Options that several functions share: defaults, and lines in the `Args:` of a docstring, by name.

    An option without a default is required.
    """

    defaults: Mapping[str, object] = attrs.field(factory=dict)
    descriptions: Mapping[str, Sequence[str]] = attrs.field(factory=dict)


NO_SHARED_OPTIONS = SharedOptions()


def public_function(shared: SharedOptions = NO_SHARED_OPTIONS, *, instead: str = "") -> Callable[[F], F]:
    """Return a decorator that adds all arguments to a function's signature and documentation.

    The keys of a TypedDict in `**options: Unpack[…]` become keyword parameters with their types, and their
    descriptions are added to the function's `Args:`. A call that does not match the signature raises
    InvalidCall, with `instead` as the remedy for a function that users should not call. The traceback of a
    LitGPTError has no frames of the library except this function's.
    """

    def decorate(function: F) -> F:
        options = _options(function)
        signature = _signature(function, options, shared.defaults)

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True  # IPython and pytest omit this frame
            try:
                signature.bind(*args, **kwargs)
            except TypeError:
                invalid = _invalid_call(function, signature, args, kwargs)
                invalid.problem = f"{invalid.problem} {instead}".strip()
            else:
                try:
                    return function(*args, **kwargs)
                except LitGPTError as error:
                    if os.environ.get("LITGPT_FULL_TRACEBACKS", "") not in ("", "0"):
                        raise
                    raise error.with_traceback(None) from None
            raise invalid

        called.__signature__ = signature  # type: ignore[attr-defined] # for inspect.signature
        if function.__doc__ is not None and options is not None:
            called.__doc__ = _with_entries(function.__doc__, shared.descriptions, signature)
        return called  # type: ignore[return-value]

    return decorate


def document_fields(settings: T) -> T:
    """Document the arguments of an attrs class from the `help` in the metadata of its fields.

    The types of the arguments become those of the fields, as attrs takes them from converters.
    """
    kind: Any = settings
    fields = attrs.fields(kind)
    entries = [f"    {field.name}: {field.metadata['help']}" for field in fields]
    kind.__doc__ = "\n".join([kind.__doc__, "", "Args:", *entries, ""])
    kind.__init__.__annotations__ |= {field.name: field.type for field in fields}
    kind.__init__ = public_function()(kind.__init__)
    return settings


def describe_typed_dict(*options: type) -> dict[str, list[str]]:
    """Return the lines of each key in the `Attributes:` of TypedDicts' docstrings."""
    return {
        key: lines for cls in options for key, lines in _entries(cls.__doc__ or "", "Attributes:").items()
    }


def _entries(doc: str, header: str) -> dict[str, list[str]]:
    """Return the lines of each entry in a section of a docstring, by name."""
    entries: dict[str, list[str]] = {}
    current: list[str] = []
    for line in _section(doc, header):
        if not line.startswith(" " * (_ENTRY_INDENT + 1)):
            current = entries[line.strip().partition(":")[0]] = []
        current.append(line)
    return entries


def _section(doc: str, header: str) -> list[str]:
    lines = inspect.cleandoc(doc).splitlines()
    if header not in lines:
        return []
    rest = lines[lines.index(header) + 1 :]
    end = next((at for at, line in enumerate(rest) if line and not line.startswith(" ")), len(rest))
    return [line for line in rest[:end] if line.strip()]


def _options(function: Callable[..., Any]) -> type | None:
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is Parameter.VAR_KEYWORD:
            options: type = get_args(parameter.annotation)[0]
            return options
    return None


def _signature(
    function: Callable[..., Any], options: type | None, defaults: Mapping[str, object]
) -> Signature:
    signature = inspect.signature(function)
    own = [x for x in signature.parameters.values() if x.kind is not Parameter.VAR_KEYWORD]
    shared = [
        Parameter(
            name,
            Parameter.KEYWORD_ONLY,
            default=defaults.get(name, Parameter.empty),
            annotation=annotation,
        )
        for name, annotation in ({} if options is None else options.__annotations__).items()
    ]
    return signature.replace(parameters=[*own, *shared])


def _with_entries(doc: str, shared: Mapping[str, Sequence[str]], signature: Signature) -> str:
    """Return a docstring whose `Args:` also has the `shared` entries, in the order of the signature."""
    entries = {**shared, **_entries(doc, "Args:")}
    arguments = [line for name in signature.parameters for line in entries.get(name, ())]
    lines = inspect.cleandoc(doc).splitlines()
    if "Args:" not in lines:
        at = next((at for at, line in enumerate(lines) if line in ("Returns:", "Raises:")), len(lines))
        blank = [] if not lines[at - 1] else [""]
        return "\n".join([*lines[:at], *blank, "Args:", *arguments, "", *lines[at:]])
    begin = lines.index("Args:") + 1
    end = next((at for at in range(begin, len(lines)) if not lines[at].strip()), len(lines))
    return "\n".join([*lines[:begin], *arguments, *lines[end:]])


def _invalid_call(
    function: Callable[..., Any], signature: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> InvalidCall:
    name, parameters = function.__qualname__, list(signature.parameters.values())
    if args and parameters[0].name in ("self", "cls"):
        owner = args[0] if isinstance(args[0], type) else type(args[0])
        made = function.__name__ == "__init__"
        name = owner.__name__ if made else f"{owner.__name__}.{function.__name__}"
        parameters, args = parameters[1:], args[1:]
    return InvalidCall(name, _problem(parameters, args, kwargs))


def _problem(parameters: list[Parameter], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    names = [parameter.name for parameter in parameters]
    for unknown in (name for name in kwargs if name not in names):
        close = suggest_name(unknown, names)
        remedy = (
            f"Did you mean {close!r}?" if close else f"It takes {join_names(names) if names else 'none'}."
        )
        return f"has no argument {unknown!r}. {remedy}"
    positional = [x.name for x in parameters if x.kind is not Parameter.KEYWORD_ONLY]
    if len(args) > len(positional):
        most = f"at most {len(positional)} ({', '.join(positional)})" if positional else "none"
        others = [name for name in names if name not in positional]
        remedy = f" Pass others by name: {others[0]}=…" if others else ""
        return f"takes {most} of its arguments by position, not {len(args)}.{remedy}"
    for twice in (name for name in positional[: len(args)] if name in kwargs):
        return f"has the argument {twice!r} twice: by position and by name."
    required = {x.name for x in parameters if x.default is Parameter.empty}
    missing = [name for name in names if name in required - {*kwargs, *positional[: len(args)]}]
    if missing[0] not in positional:
        return f"needs {', '.join(f'{name}=…' for name in missing)}, by name."
    return f"needs the argument{'' if len(missing) == 1 else 's'} {', '.join(map(repr, missing))}."
