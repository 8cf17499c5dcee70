"""Public functions as callers see them: whole signatures, documented, and errors that name what is expected.

`**options: Unpack[Options]` types the options of several functions in one place (PEP 692), but help() and
inspect.signature show only its name. `public` shows each option.

Errors of the library's own tree end at the caller's line: their messages say what is wrong and what to do,
and the library's frames help only its developers. JAX filters its tracebacks in the same way
(`jax_traceback_filtering`). LITGPT_FULL_TRACEBACKS=1 keeps all lines; the cause is in `__context__`.
"""

import functools
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from inspect import Parameter, Signature
from typing import Any, TypeVar, get_args

import attrs

from litgpt.domain.errors import LitGPTError
from litgpt.domain.formatting.bounded_text import join_names

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")

_ENTRY_INDENT = 4


@attrs.define(eq=False)
class InvalidCall(LitGPTError, TypeError):
    """A function was called with arguments that it does not take, or without one that it needs.

    Attributes:
        function: The function, as it is called.
        problem: What is wrong, and what would be right.

    """

    function: str
    problem: str

    def __str__(self) -> str:
        return f"{self.function}() {self.problem}"


@attrs.frozen
class SharedOptions:
    """Options that several functions have.

    Attributes:
        defaults: What each is when it is left out, by name. One that is not there has to be passed.
        descriptions: The lines of a docstring's `Args:` that describe each.

    """

    defaults: Mapping[str, object] = attrs.field(factory=dict)
    descriptions: Mapping[str, Sequence[str]] = attrs.field(factory=dict)


NO_SHARED_OPTIONS = SharedOptions()


def public_function(shared: SharedOptions = NO_SHARED_OPTIONS, *, instead: str = "") -> Callable[[F], F]:
    """Return a decorator that gives a function the signature and the documentation of all its arguments.

    The keys of a TypedDict in `**options: Unpack[…]` become keyword parameters with their types, and their
    descriptions are added to the function's `Args:`. A call whose arguments do not fit raises WrongCall. The
    traceback of a LitGPTError has no line of the library but this function's.

    Args:
        shared: The defaults and descriptions of the options.
        instead: What to do, for a function that is not called by users; the error says it.

    """

    def decorate(function: F) -> F:
        options = _options(function)
        signature = _signature(function, options, shared.defaults)

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            __tracebackhide__ = True  # IPython and pytest leave this frame out
            try:
                signature.bind(*args, **kwargs)
            except TypeError:
                wrong = _invalid_call(function, signature, args, kwargs)
                wrong.problem = f"{wrong.problem} {instead}".strip()
            else:
                try:
                    return function(*args, **kwargs)
                except LitGPTError as error:
                    if os.environ.get("LITGPT_FULL_TRACEBACKS", "") not in ("", "0"):
                        raise
                    raise error.with_traceback(None) from None
            raise wrong

        called.__signature__ = signature  # type: ignore[attr-defined] # inspect.signature returns it
        if function.__doc__ is not None and options is not None:
            called.__doc__ = _with_entries(function.__doc__, shared.descriptions, signature)
        return called  # type: ignore[return-value]

    return decorate


def document_fields(settings: T) -> T:
    """Give an attrs class whose fields have `help` in their metadata documented arguments with their types.

    attrs takes the types of arguments from converters, which take anything.
    """
    kind: Any = settings
    fields = attrs.fields(kind)
    entries = [f"    {one.name}: {one.metadata['help']}" for one in fields]
    kind.__doc__ = "\n".join([kind.__doc__, "", "Args:", *entries, ""])
    kind.__init__.__annotations__ |= {one.name: one.type for one in fields}
    kind.__init__ = public_function()(kind.__init__)
    return settings


def describe_typed_dict(*options: type) -> dict[str, list[str]]:
    """Return the lines that describe each key in the `Attributes:` of TypedDicts' docstrings."""
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in (line for one in options for line in _section(one.__doc__ or "", "Attributes:")):
        if not line.startswith(" " * (_ENTRY_INDENT + 1)):
            current = found[line.strip().partition(":")[0]] = []
        current.append(line)
    return found


def _section(doc: str, header: str) -> list[str]:
    lines = inspect.cleandoc(doc).splitlines()
    if header not in lines:
        return []
    rest = lines[lines.index(header) + 1 :]
    end = next((at for at, line in enumerate(rest) if line and not line.startswith(" ")), len(rest))
    return [line for line in rest[:end] if line.strip()]


def _options(function: Callable[..., Any]) -> type | None:
    """Return the TypedDict of a function's `**options`; None if it has none."""
    for one in inspect.signature(function).parameters.values():
        if one.kind is Parameter.VAR_KEYWORD:
            options: type = get_args(one.annotation)[0]
            return options
    return None


def _signature(
    function: Callable[..., Any], options: type | None, defaults: Mapping[str, object]
) -> Signature:
    signature = inspect.signature(function)
    own = [one for one in signature.parameters.values() if one.kind is not Parameter.VAR_KEYWORD]
    more = [
        Parameter(
            name,
            Parameter.KEYWORD_ONLY,
            default=defaults.get(name, Parameter.empty),
            annotation=annotation,
        )
        for name, annotation in ({} if options is None else options.__annotations__).items()
    ]
    return signature.replace(parameters=[*own, *more])


def _with_entries(doc: str, entries: Mapping[str, Sequence[str]], signature: Signature) -> str:
    """Return a docstring whose `Args:` have an entry for each parameter that is described elsewhere."""
    added = [line for name in signature.parameters for line in entries.get(name, ())]
    lines = inspect.cleandoc(doc).splitlines()
    if "Args:" not in lines:
        at = next((at for at, line in enumerate(lines) if line in ("Returns:", "Raises:")), len(lines))
        return "\n".join(
            [*lines[:at], *([] if not lines[at - 1] else [""]), "Args:", *added, "", *lines[at:]]
        )
    begin = lines.index("Args:") + 1
    end = next((at for at in range(begin, len(lines)) if not lines[at].strip()), len(lines))
    return "\n".join([*lines[:end], *added, *lines[end:]])


def _invalid_call(
    function: Callable[..., Any], signature: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> InvalidCall:
    """Return the error of a call whose arguments do not bind."""
    name, parameters = function.__qualname__, list(signature.parameters.values())
    if args and parameters[0].name in ("self", "cls"):
        owner = args[0] if isinstance(args[0], type) else type(args[0])
        made = function.__name__ == "__init__"
        name = owner.__name__ if made else f"{owner.__name__}.{function.__name__}"
        parameters, args = parameters[1:], args[1:]
    return InvalidCall(name, _problem(parameters, args, kwargs))


def _problem(parameters: list[Parameter], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    names = [one.name for one in parameters]
    for unknown in (one for one in kwargs if one not in names):
        close = get_close_matches(unknown, names, n=1)
        right = (
            f"Did you mean {close[0]!r}?" if close else f"It takes {join_names(names) if names else 'none'}."
        )
        return f"has no argument {unknown!r}. {right}"
    positional = [one.name for one in parameters if one.kind is not Parameter.KEYWORD_ONLY]
    if len(args) > len(positional):
        most = f"at most {len(positional)} ({', '.join(positional)})" if positional else "none"
        others = [one for one in names if one not in positional]
        right = f" Pass others by name: {others[0]}=…" if others else ""
        return f"takes {most} of its arguments by position, not {len(args)}.{right}"
    for twice in (one for one in positional[: len(args)] if one in kwargs):
        return f"has the argument {twice!r} twice: by position and by name."
    needed = {one.name for one in parameters if one.default is Parameter.empty}
    missing = [one for one in names if one in needed and one not in (*kwargs, *positional[: len(args)])]
    if missing[0] not in positional:
        return f"needs {', '.join(f'{one}=…' for one in missing)}, by name."
    return f"needs the argument{'' if len(missing) == 1 else 's'} {', '.join(map(repr, missing))}."
