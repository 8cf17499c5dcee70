"""What one rendering of a stranger's template may cost: a number of characters, charged as they are made."""

from collections.abc import Iterator, Mapping, Sized
from contextlib import contextmanager
from contextvars import ContextVar

BUDGET = 100_000_000
"""In characters. A conversation of a million tokens takes about a tenth of it."""

STEP = 200
"""What one pass of a loop costs."""

_PART = 10  # what it costs to look at one part of a list or a mapping

_left: ContextVar[int] = ContextVar("_left", default=BUDGET)


class TooCostly(Exception):
    """A template asked for more than its budget."""

    def __str__(self) -> str:
        return "it loops too often, or makes too long a text."


@contextmanager
def budget(characters: int = BUDGET) -> Iterator[None]:
    """Give what happens inside a budget of its own."""
    token = _left.set(characters)
    try:
        yield
    finally:
        _left.reset(token)


def spend(characters: int) -> bool:
    """Charge something; True, so that it can stand in a condition.

    Raises:
        TooCostly: The budget does not hold that much any more.

    """
    left = _left.get() - characters
    if left < 0:
        raise TooCostly
    _left.set(left)
    return True


def size(value: object) -> int:
    """Return what it costs to go through a value, or to copy it."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, int):
        return 1 + value.bit_length() // 8
    return len(value) * _PART if isinstance(value, Sized) else 1


def weigh(value: object, *, text: bool = True) -> None:
    """Charge a value by its size: its parts, and the texts in it if it is about to become text."""
    if isinstance(value, str):
        spend(len(value) if text else _PART)
    elif isinstance(value, Mapping):
        for key, part in value.items():
            weigh(key, text=text)
            weigh(part, text=text)
    elif isinstance(value, (list, tuple, set, frozenset)):
        spend(_PART)
        for part in value:
            weigh(part, text=text)
    else:
        spend(_PART + size(value))
