"""Escape special tokens in data, so that they are encoded as text, not as control tokens."""

from collections.abc import Callable, Mapping
from typing import Any

ESCAPE = "\udfff"
"""Breaks a special token apart. It is a lone surrogate, so text that can be encoded in UTF-8 has none."""


def unescape(text: str) -> str:
    """Return the original text of an escaped text."""
    return text.replace(ESCAPE, "")


def map_strings(value: Any, function: Callable[[str], str]) -> Any:
    """Return a copy of a JSON value with a function applied to each string, including keys."""
    if isinstance(value, str):
        return function(value)
    if isinstance(value, Mapping):
        return {function(key): map_strings(item, function) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [map_strings(item, function) for item in value]
    return value
