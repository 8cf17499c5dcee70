"""Search for special tokens in escaped message contents.

Templates parse contents: `content.split('</think>')`, `'<|channel|>' in content`. To match an escaped special
token in the content, the template's constant is escaped in the same way.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from litgpt.domain.chat.special_token_escapes import ESCAPE

_escape: ContextVar[Callable[[str], str]] = ContextVar("_escape", default=lambda text: text)


@contextmanager
def escaping_with(escape: Callable[[str], str]) -> Iterator[None]:
    """Set the function that escapes special tokens in message contents, within the context."""
    token = _escape.set(escape)
    try:
        yield
    finally:
        _escape.reset(token)


def escape_arguments(text: object, method: str, arguments: Sequence[Any]) -> tuple[Any, ...]:
    """Return the arguments of a string method, escaped if the string is escaped.

    The replacement of `replace` is enclosed in ESCAPE, so it cannot form a special token with its context.
    """
    if not isinstance(text, str) or ESCAPE not in text:
        return tuple(arguments)
    escape = _escape.get()
    if method != "replace":
        return tuple(escape(argument) if isinstance(argument, str) else argument for argument in arguments)
    old, new = (str(argument) for argument in arguments[:2])
    return (escape(old), f"{ESCAPE}{new}{ESCAPE}", *arguments[2:])


class _Escaped(str):
    __slots__ = ()

    def __contains__(self, text: object) -> bool:
        return isinstance(text, str) and super().__contains__(_escape.get()(text))


def searchable(value: object) -> object:
    """Return the right operand of `in`, such that special tokens are found in it."""
    return _Escaped(value) if isinstance(value, str) and ESCAPE in value else value
