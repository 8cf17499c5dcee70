"""Cost limit for rendering an untrusted template, in characters."""

from collections.abc import ItemsView, Iterator, KeysView, Mapping, Sized, ValuesView
from contextlib import contextmanager
from contextvars import ContextVar

BUDGET = 100_000_000
"""In characters. A conversation of a million tokens uses up to a third; the full budget takes seconds."""

PART = 50
"""Cost of accessing one item of a list or mapping, in characters copied in the same time."""

STEP = 100
"""Overhead of a loop iteration or macro call."""

_left: ContextVar[int] = ContextVar("_left", default=BUDGET)


class TooCostly(Exception):
    """A template exceeded its budget."""

    def __str__(self) -> str:
        return "it exceeds the limits on loops, text length or numbers."


@contextmanager
def budget(characters: int = BUDGET) -> Iterator[None]:
    """Use a separate budget within the context."""
    token = _left.set(characters)
    try:
        yield
    finally:
        _left.reset(token)


def spend(characters: int) -> None:
    """Charge the budget; negative numbers are ignored.

    Raises:
        TooCostly: The budget is exhausted.

    """
    left = _left.get() - max(characters, 0)
    if left < 0:
        raise TooCostly
    _left.set(left)


def size(value: object) -> int:
    """Return the cost of copying a value, or of traversing it non-recursively."""
    if isinstance(value, str):
        return len(value)
    return (1 + len(value)) * PART if isinstance(value, Sized) else PART


def weigh(*values: object) -> int:
    """Charge the recursive size of values and return it.

    A shared item is charged each time it is visited, since nested lists of shared lists grow exponentially.
    Charging during the traversal bounds its time.
    """
    weight = 0
    for value in values:
        cost = size(value)
        spend(cost)
        weight += cost
        if isinstance(value, Mapping):
            weight += weigh(*value, *value.values())
        elif isinstance(value, (list, tuple, set, frozenset, KeysView, ValuesView, ItemsView)):
            weight += weigh(*value)
    return weight
