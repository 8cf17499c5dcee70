"""Cost limit for rendering an untrusted template, in characters."""

from collections.abc import ItemsView, Iterator, KeysView, Mapping, Sized, ValuesView
from contextlib import contextmanager
from contextvars import ContextVar

DEFAULT_BUDGET = 100_000_000
"""In characters. A conversation of a million tokens uses up to a third; the full budget takes seconds."""

ELEMENT_COST = 50
"""Cost of accessing one item of a list or mapping, in characters copied in the same time."""

STEP_COST = 100
"""Overhead of a loop iteration or macro call."""

_remaining: ContextVar[int] = ContextVar("_left", default=DEFAULT_BUDGET)


class BudgetExceeded(Exception):
    """A template exceeded its budget."""

    def __str__(self) -> str:
        return "it exceeds the limits on loops, text length or numbers."


@contextmanager
def budget(characters: int = DEFAULT_BUDGET) -> Iterator[None]:
    """Use a separate budget within the context."""
    token = _remaining.set(characters)
    try:
        yield
    finally:
        _remaining.reset(token)


def charge(characters: int) -> None:
    """Charge the budget, or raise BudgetExceeded; negative numbers are ignored."""
    left = _remaining.get() - max(characters, 0)
    if left < 0:
        raise BudgetExceeded
    _remaining.set(left)


def shallow_size(value: object) -> int:
    """Return the cost of copying a value, or of traversing it non-recursively."""
    if isinstance(value, str):
        return len(value)
    return (1 + len(value)) * ELEMENT_COST if isinstance(value, Sized) else ELEMENT_COST


def charge_deep_size(*values: object) -> int:
    """Charge the recursive size of values and return it.

    A shared item is charged each time it is visited, since nested lists of shared lists grow exponentially.
    Charging during the traversal bounds its time.
    """
    weight = 0
    for value in values:
        cost = shallow_size(value)
        charge(cost)
        weight += cost
        if isinstance(value, Mapping):
            weight += charge_deep_size(*value, *value.values())
        elif isinstance(value, (list, tuple, set, frozenset, KeysView, ValuesView, ItemsView)):
            weight += charge_deep_size(*value)
    return weight
