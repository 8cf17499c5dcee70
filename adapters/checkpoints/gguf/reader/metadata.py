"""Typed access to header metadata; errors name the key."""

from collections.abc import Mapping

import attrs

from litgpt.adapters.checkpoints.gguf.reader.header_reader import STRING, HeaderArray, Value
from litgpt.domain.errors import CorruptFile, UnsupportedModel
from litgpt.domain.validators import is_integer, is_number


@attrs.frozen
class GgufMetadata:
    """The metadata of a GGUF file. Methods return None for absent keys.

    Attributes:
        path: The file, named in errors.
        values: The values of the header, by key.

    """

    path: str
    values: Mapping[str, Value] = attrs.field(repr=False)

    def integer(self, key: str) -> int | None:
        """Return a non-negative integer, which may be stored as a list of equal values per layer.

        Raises:
            CorruptFile: It is not a non-negative integer.
            UnsupportedModel: The values of the layers differ.

        """
        value: object = self.values.get(key)
        if isinstance(value, HeaderArray):
            value = self._same_in_every_layer(key, value)
        if value is None:
            return None
        if not is_integer(value, 0):
            raise self.invalid(key, "a non-negative integer")
        return value

    def number(self, key: str) -> float | None:
        """Return a finite number.

        Raises:
            CorruptFile: It is not a finite number.

        """
        value = self.values.get(key)
        if value is None:
            return None
        if not is_number(value):
            raise self.invalid(key, "a finite number")
        return float(value)

    def flag(self, key: str) -> bool | None:
        """Return a boolean.

        Raises:
            CorruptFile: It is not a boolean.

        """
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.invalid(key, "true or false")
        return value

    def text(self, key: str) -> str | None:
        """Return a string.

        Raises:
            CorruptFile: It is not a string.

        """
        value = self.values.get(key)
        if value is not None and not isinstance(value, str):
            raise self.invalid(key, "a string")
        return value

    def array(self, key: str, *, of_text: bool) -> HeaderArray | None:
        """Return an array of strings, or of numbers.

        Raises:
            CorruptFile: It has another type.

        """
        value = self.values.get(key)
        if value is not None and (not isinstance(value, HeaderArray) or (value.kind == STRING) != of_text):
            raise self.invalid(key, f"an array of {'strings' if of_text else 'numbers'}")
        return value

    def missing(self, key: str) -> CorruptFile:
        """Return the error for a missing key; the caller raises it."""
        return CorruptFile(self.path, f"its header has no {key!r}.")

    def invalid(self, key: str, expected: str) -> CorruptFile:
        """Return the error for an invalid value; the caller raises it."""
        if (value := self.values.get(key)) is None:
            return self.missing(key)
        actual = "an array" if isinstance(value, HeaderArray) else repr(value)
        return CorruptFile(self.path, f"{key!r} in its header must be {expected}, not {actual}.")

    def unsupported(self, reason: str) -> UnsupportedModel:
        """Return the error for an unsupported model; the caller raises it."""
        return UnsupportedModel(self.path, reason)

    def _same_in_every_layer(self, key: str, array: HeaderArray) -> object:
        if array.kind == STRING or not len(array):
            raise self.invalid(key, "a number")
        values = set(array.numbers())
        if len(values) != 1:
            raise self.unsupported(f"{key!r} differs between layers, which is not supported.")
        return values.pop()
