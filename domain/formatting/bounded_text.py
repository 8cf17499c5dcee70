"""Format values for messages and reprs: on one line, with bounded length and without secrets."""

import re
import reprlib
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from itertools import islice
from typing import Any

import attrs

from litgpt.domain.formatting.redaction import redact

MESSAGE_LIMIT = 1500
"""Maximum characters of an error message; the middle of a longer message is omitted."""

REPR_LIMIT = 300
"""Maximum characters of the repr of a public object."""

_FIELD_LIMIT = 100
_REPR_MARGIN = 1000


class _BoundedRepr(reprlib.Repr):
    """A repr of only the first elements of a container, so that long containers cost little."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxother = limit
        self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = self.maxdeque = self.maxarray = 20
        self.maxdict = 20
        self.fillvalue = "…"

    def repr_str(self, value: str, level: int) -> str:  # noqa: ARG002 - as reprlib calls it
        # Secrets are removed before truncation: a truncated secret would not be recognized.
        return repr(redact(value[: self.maxother + _REPR_MARGIN])[: self.maxother + 1])

    def repr_bytes(self, value: bytes, level: int) -> str:  # noqa: ARG002 - as above
        return redact(repr(value[: self.maxother + _REPR_MARGIN]))[: self.maxother + 1]

    def repr_int(self, value: int, level: int) -> str:  # noqa: ARG002 - as above
        # Decimal digits of a large number take quadratic time, and Python refuses them from 4,300 on.
        return (
            repr(value)
            if value.bit_length() < 4 * self.maxother
            else f"an integer of {value.bit_length()} bits"
        )

    def repr_dict(self, value: Mapping[Any, Any], level: int) -> str:
        if level <= 0 and value:
            return "{…}"
        pairs = (
            f"{self.repr1(key, level - 1)}: {self.repr1(item, level - 1)}"
            for key, item in islice(value.items(), self.maxdict)
        )
        return f"{{{', '.join(pairs)}{', …' if len(value) > self.maxdict else ''}}}"

    def repr_set(self, value: Any, level: int) -> str:
        first = ", ".join(self.repr1(item, level - 1) for item in islice(value, self.maxset))
        inside = f"{{{first}{', …' if len(value) > self.maxset else ''}}}" if value else ""
        return inside if inside and isinstance(value, set) else f"{type(value).__name__}({inside})"

    repr_frozenset = repr_set  # type: ignore[assignment] # its argument has another name

    def repr_instance(self, value: object, level: int) -> str:  # noqa: ARG002 - as above
        return repr(value)


def short_repr(value: object, limit: int = 60) -> str:
    """Return the repr of a value on one line, without secrets and truncated to `limit` characters.

    Only the first elements of a long container are included. A repr that raises is replaced.
    """
    try:
        text = _one_line(redact(_BoundedRepr(limit).repr(value)))
    except RecursionError:
        text = "a value that is too deep to print"
    except Exception as error:  # noqa: BLE001 - a class of the caller's, whose __repr__ may raise anything
        text = f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
    return _truncate(text, limit)


def brief_repr(value: Any) -> str:
    """Return the repr of an attrs object without fields that have their default: `__repr__ = brief_repr`.

    It is one line of at most `REPR_LIMIT` characters, with at most 100 per field.
    """
    shown = {
        field.name.lstrip("_"): getattr(value, field.name)
        for field in attrs.fields(type(value))
        if field.repr and not _is_default(field, getattr(value, field.name))
    }
    return summary_repr(type(value).__name__, **shown)


def summary_repr(name: str, /, **facts: object) -> str:
    """Return a repr of a class name and fields, with the same bounds as `brief_repr`."""
    inside = ", ".join(f"{name}={short_repr(value, _FIELD_LIMIT)}" for name, value in facts.items())
    return f"{_truncate(f'{name}({inside}', REPR_LIMIT - 1)})"


def _is_default(field: "attrs.Attribute[Any]", value: object) -> bool:
    default: Any = field.default
    if hasattr(default, "factory"):
        default = default.factory()
    return type(value) is type(default) and bool(value == default)


def _truncate(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def join_names(names: Sequence[str], limit: int = 400) -> str:
    """Join names up to `limit` characters, followed by the number of the others."""
    names = [redact(name) for name in names]
    shown, length = 0, 0
    while shown < len(names) and length + len(names[shown]) <= limit:
        length += len(names[shown]) + 2
        shown += 1
    first = names[:shown] or [names[0][: limit - 1] + "…"]
    rest = len(names) - len(first)
    return ", ".join(first) + (f" and {rest} more" if rest else "")


def bounded_message(write: Callable[[BaseException], str]) -> Callable[[BaseException], str]:
    """Return a `__str__` or `__repr__` with one line, no secrets and at most `MESSAGE_LIMIT` characters."""
    if write.__name__ == "__repr__":  # the repr of attrs has all values in full
        return brief_repr

    @wraps(write)
    def cut(error: BaseException) -> str:
        text = redact(write(error))
        half = MESSAGE_LIMIT // 2
        if len(text) > MESSAGE_LIMIT:  # keep the problem at the beginning and the remedy at the end
            text = f"{text[: half - 2]} … {text[1 - half :]}"
        return _one_line(text)

    return cut


def _one_line(text: str) -> str:
    return _LINE_BREAKS.sub(" ", text)


_LINE_BREAKS = re.compile(r"\s*[\r\n]\s*")
