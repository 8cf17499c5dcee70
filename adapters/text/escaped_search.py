"""What a chat template looks for in a content, where special tokens in contents are escaped.

A template may parse contents: `content.split('</think>')`, `'<|channel|>' in content`. It has to find a
special token there although it is escaped, so the template's own constant is escaped in the same way.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from litgpt.domain.special_tokens import ESCAPE

_escape: ContextVar[Callable[[str], str]] = ContextVar("_escape", default=lambda text: text)


@contextmanager
def escaped_by(escape: Callable[[str], str]) -> Iterator[None]:
    """Say how special tokens are escaped in the contents that are rendered inside."""
    token = _escape.set(escape)
    try:
        yield
    finally:
        _escape.reset(token)


def like(text: object, method: str, arguments: Sequence[Any]) -> tuple[Any, ...]:
    """Return the arguments of a string method: what it looks for is escaped if the string is.

    What `replace` puts in place of a match stands between two ESCAPEs, so that the text before and after it
    does not become a special token.
    """
    if not isinstance(text, str) or ESCAPE not in text:
        return tuple(arguments)
    escape = _escape.get()
    if method != "replace":
        return tuple(escape(one) if isinstance(one, str) else one for one in arguments)
    old, new = (str(one) for one in arguments[:2])
    return (escape(old), f"{ESCAPE}{new}{ESCAPE}", *arguments[2:])


class _Escaped(str):
    """An escaped content on the right of `in`."""

    __slots__ = ()

    def __contains__(self, text: object) -> bool:
        return isinstance(text, str) and super().__contains__(_escape.get()(text))


def searchable(value: object) -> object:
    """Return what stands on the right of `in`, such that special tokens are found in it."""
    return _Escaped(value) if isinstance(value, str) and ESCAPE in value else value
