"""The parts of a message that a file or a caller decides, without secrets and cut to a readable length."""

from collections.abc import Callable, Sequence
from functools import wraps

from litgpt.domain.secrets import without_secrets

MESSAGE_LIMIT = 1500
"""The characters of an error's message; the middle of a longer one is omitted."""


def short_repr(value: object, limit: int = 60) -> str:
    """Return the repr of a value for a message, without secrets and cut off after `limit` characters."""
    try:
        text = without_secrets(repr(value))
    except (
        ValueError,
        RecursionError,
    ) as error:  # an int with thousands of digits, or deep lists
        text = f"a value that is too {'long' if isinstance(error, ValueError) else 'deep'} to print"
    return text if len(text) <= limit else text[: limit - 1] + "…"


def listed(names: Sequence[str], limit: int = 400) -> str:
    """Return as many names as `limit` characters hold, and how many more there are."""
    names = [without_secrets(name) for name in names]
    shown, length = 0, 0
    while shown < len(names) and length + len(names[shown]) <= limit:
        length += len(names[shown]) + 2
        shown += 1
    first = names[:shown] or [names[0][: limit - 1] + "…"]
    more = len(names) - len(first)
    return ", ".join(first) + (f" and {more} more" if more else "")


def bounded(write: Callable[[BaseException], str]) -> Callable[[BaseException], str]:
    """Return a `__str__` or `__repr__` whose text has no secrets and at most `MESSAGE_LIMIT` characters."""

    @wraps(write)
    def cut(error: BaseException) -> str:
        text = without_secrets(write(error))
        half = MESSAGE_LIMIT // 2
        # What is wrong comes first, and the remedy last.
        return text if len(text) <= MESSAGE_LIMIT else f"{text[: half - 2]} … {text[1 - half :]}"

    return cut
