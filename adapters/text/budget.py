"""What one rendering of a stranger's template may cost: a number of characters, charged as they are made."""

from collections.abc import ItemsView, Iterator, KeysView, Mapping, Sized, ValuesView
from contextlib import contextmanager
from contextvars import ContextVar

BUDGET = 100_000_000
"""In characters. A conversation of a million tokens takes up to a third of it; all of it takes seconds."""

PART = 50
"""What it costs to look at one part of a list or a mapping, in characters that are copied in that time."""

STEP = 100
"""What one pass of a loop, or one call of a macro, costs besides what is done in it."""

_left: ContextVar[int] = ContextVar("_left", default=BUDGET)


class TooCostly(Exception):
    """A template asked for more than its budget."""

    def __str__(self) -> str:
        return "it loops too often, or makes too long a text or too large a number."


@contextmanager
def budget(characters: int = BUDGET) -> Iterator[None]:
    """Give what happens inside a budget of its own."""
    token = _left.set(characters)
    try:
        yield
    finally:
        _left.reset(token)


def spend(characters: int) -> None:
    """Charge something; a number below 0 gives nothing back.

    Raises:
        TooCostly: The budget does not hold that much any more.

    """
    left = _left.get() - max(characters, 0)
    if left < 0:
        raise TooCostly
    _left.set(left)


def size(value: object) -> int:
    """Return what it costs to copy a value, or to go through it without looking into its parts."""
    if isinstance(value, str):
        return len(value)
    return (1 + len(value)) * PART if isinstance(value, Sized) else PART


def weigh(*values: object) -> int:
    """Charge values for all that is in them, and return how much that was.

    A list may hold the same list many times, and that again: what is charged is what it takes to go through.
    It is charged on the way, so that this too comes to an end.
    """
    weight = 0
    for value in values:
        here = size(value)
        spend(here)
        weight += here
        if isinstance(value, Mapping):
            weight += weigh(*value, *value.values())
        elif isinstance(value, (list, tuple, set, frozenset, KeysView, ValuesView, ItemsView)):
            weight += weigh(*value)
    return weight
