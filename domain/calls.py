"""Public functions as their callers see them: whole signatures, documented, and errors that say what is expected.

`**options: Unpack[Options]` types the options of several functions in one place (PEP 692), but help(), notebooks
and inspect.signature show no more of it than its name. `public` shows each option.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from inspect import Parameter, Signature
from typing import Any, TypeVar, get_args

import attrs

from litgpt.domain.errors import LitGPTError
from litgpt.domain.messages import listed

F = TypeVar("F", bound=Callable[..., Any])

_ENTRY_INDENT = 4


@attrs.define(eq=False)
class WrongCall(LitGPTError, TypeError):
    """A function was called with arguments that it does not take, or without one that it needs.

    Attributes:
        function: The function, as it is called.
        problem: What is wrong.
        takes: The names of its arguments.

    """

    function: str
    problem: str
    takes: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.function}() {self.problem} It takes {listed(self.takes) if self.takes else 'none'}."


def public(*, defaults: Mapping[str, object] | None = None) -> Callable[[F], F]:
    """Return a decorator that gives a function the signature and the documentation of all its arguments.

    The keys of a TypedDict in `**options: Unpack[…]` become keyword parameters, with their types, and the
    descriptions in the `Attributes:` of the TypedDict and its bases are added to the function's `Args:`.
    A call whose arguments do not fit raises WrongCall.

    Args:
        defaults: The defaults of these parameters, by name; one that is not there is required.

    """

    def decorate(function: F) -> F:
        options = _options(function)
        signature = _signature(function, options, defaults or {})

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            try:
                signature.bind(*args, **kwargs)
            except TypeError:
                error = _wrong(function, signature, args, kwargs)
            else:
                return function(*args, **kwargs)
            raise error

        call.__signature__ = signature  # type: ignore[attr-defined] # inspect.signature returns it
        if function.__doc__ is not None and options is not None:
            call.__doc__ = _with_entries(function.__doc__, entries_of(options), signature)
        return call  # type: ignore[return-value]

    return decorate


def entries_of(options: type) -> dict[str, list[str]]:
    """Return the lines that describe each key, in the docstrings of a TypedDict and of those it extends."""
    found: dict[str, list[str]] = {}
    for base in getattr(options, "__orig_bases__", ()):
        if isinstance(base, type):
            found |= entries_of(base)
    current: list[str] = []
    for line in _section(options.__doc__ or "", "Attributes:"):
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


def _with_entries(doc: str, entries: Mapping[str, list[str]], signature: Signature) -> str:
    """Return a docstring whose `Args:` have an entry for each parameter that is described elsewhere."""
    added = [line for name in signature.parameters for line in entries.get(name, ())]
    lines = inspect.cleandoc(doc).splitlines()
    if "Args:" not in lines:
        at = next((at for at, line in enumerate(lines) if line in ("Returns:", "Raises:")), len(lines))
        return "\n".join([*lines[:at], *([] if not lines[at - 1] else [""]), "Args:", *added, "", *lines[at:]])
    begin = lines.index("Args:") + 1
    end = next((at for at in range(begin, len(lines)) if not lines[at].strip()), len(lines))
    return "\n".join([*lines[:end], *added, *lines[end:]])


def _wrong(
    function: Callable[..., Any], signature: Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> WrongCall:
    """Return the error of a call whose arguments do not bind."""
    name, parameters = function.__qualname__, list(signature.parameters.values())
    if parameters and parameters[0].name in ("self", "cls"):
        owner = args[0] if isinstance(args[0], type) else type(args[0])
        made = function.__name__ == "__init__"
        name = owner.__name__ if made else f"{owner.__name__}.{function.__name__}"
        parameters, args = parameters[1:], args[1:]
    takes = tuple(one.name for one in parameters)
    return WrongCall(name, _problem(parameters, args, kwargs), takes)


def _problem(parameters: list[Parameter], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    names = [one.name for one in parameters]
    for unknown in (one for one in kwargs if one not in names):
        close = get_close_matches(unknown, names, n=1)
        return f"has no argument {unknown!r}.{f' Did you mean {close[0]!r}?' if close else ''}"
    positional = [one.name for one in parameters if one.kind is not Parameter.KEYWORD_ONLY]
    if len(args) > len(positional):
        most = f"{len(positional)} argument{'' if len(positional) == 1 else 's'}"
        return f"takes at most {most} by position, and {len(args)} were passed. Pass the others by name."
    for twice in (one for one in positional[: len(args)] if one in kwargs):
        return f"has the argument {twice!r} twice: by position and by name."
    needed = {one.name for one in parameters if one.default is Parameter.empty}
    missing = [one for one in names if one in needed and one not in (*kwargs, *positional[: len(args)])]
    return f"needs the argument{'' if len(missing) == 1 else 's'} {', '.join(map(repr, missing))}."
