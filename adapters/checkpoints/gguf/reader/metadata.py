"""Typed access to header metadata; errors name the key."""

from collections.abc import Mapping

import attrs

from litgpt.adapters.checkpoints.gguf.reader.header_reader import STRING, HeaderArray, Value
from litgpt.domain.errors import CorruptFile, UnsupportedModel
from litgpt.domain.validators import is_integer, is_number


@attrs.frozen
class GgufMetadata:
    """The metadata of a GGUF file. Methods return None for absent keys; invalid values raise CorruptFile."""

    path: str
    values: Mapping[str, Value] = attrs.field(repr=False)

    def integer(self, key: str) -> int | None:
        """Return a non-negative integer, which may be stored as a list of equal values per layer."""
        value: object = self.values.get(key)
        if isinstance(value, HeaderArray):
            value = self._same_in_every_layer(key, value)
        if value is None:
            return None
        if not is_integer(value, 0):
            raise self.invalid(key, "a non-negative integer")
        return value

    def number(self, key: str) -> float | None:
        value = self.values.get(key)
        if value is None:
            return None
        if not is_number(value):
            raise self.invalid(key, "a finite number")
        return float(value)

    def flag(self, key: str) -> bool | None:
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.invalid(key, "true or false")
        return value

    def text(self, key: str) -> str | None:
        value = self.values.get(key)
        if value is not None and not isinstance(value, str):
            raise self.invalid(key, "a string")
        return value

    def array(self, key: str, *, of_text: bool) -> HeaderArray | None:
        value = self.values.get(key)
        if value is not None and (not isinstance(value, HeaderArray) or (value.kind == STRING) != of_text):
            raise self.invalid(key, f"an array of {'strings' if of_text else 'numbers'}")
        return value

    def missing(self, key: str) -> CorruptFile:
        return CorruptFile(self.path, f"its header has no {key!r}.")

    def invalid(self, key: str, expected: str) -> CorruptFile:
        if (value := self.values.get(key)) is None:
            return self.missing(key)
        actual = "an array" if isinstance(value, HeaderArray) else repr(value)
        return CorruptFile(self.path, f"{key!r} in its header must be {expected}, not {actual}.")

    def unsupported(self, reason: str) -> UnsupportedModel:
        return UnsupportedModel(self.path, reason)

    def _same_in_every_layer(self, key: str, array: HeaderArray) -> object:
        if array.kind == STRING or not len(array):
            raise self.invalid(key, "a number")
        values = set(array.numbers())
        if len(values) != 1:
            raise self.unsupported(f"{key!r} differs between layers, which is not supported.")
        return values.pop()
