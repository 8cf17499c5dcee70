"""Reading a header's metadata: typed, and with errors that name the key."""

from collections.abc import Mapping

import attrs

from litgpt.adapters.checkpoints.gguf.reader.header_reader import STRING, HeaderArray, Value
from litgpt.domain.errors import CorruptFile, UnsupportedModel
from litgpt.domain.validators import is_integer, is_number


@attrs.frozen
class GgufMetadata:
    """What a GGUF file says of its model. Every question is answered with None where the file is silent.

    Attributes:
        path: The file, to be named in errors.
        values: What its header holds, by key.

    """

    path: str
    values: Mapping[str, Value] = attrs.field(repr=False)

    def integer(self, key: str) -> int | None:
        """Return a non-negative integer; a list that gives each layer the same counts as that number.

        Raises:
            CorruptFile: It is no such number.
            UnsupportedModel: It differs by layer.

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
            CorruptFile: It is no such number.

        """
        value = self.values.get(key)
        if value is None:
            return None
        if not is_number(value):
            raise self.invalid(key, "a finite number")
        return float(value)

    def flag(self, key: str) -> bool | None:
        """Return what is on or off.

        Raises:
            CorruptFile: It is neither.

        """
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.invalid(key, "true or false")
        return value

    def text(self, key: str) -> str | None:
        """Return a text.

        Raises:
            CorruptFile: It is no text.

        """
        value = self.values.get(key)
        if value is not None and not isinstance(value, str):
            raise self.invalid(key, "a string")
        return value

    def array(self, key: str, *, of_text: bool) -> HeaderArray | None:
        """Return an array of texts, or one of numbers.

        Raises:
            CorruptFile: It is something else.

        """
        value = self.values.get(key)
        if value is not None and (not isinstance(value, HeaderArray) or (value.kind == STRING) != of_text):
            raise self.invalid(key, f"an array of {'texts' if of_text else 'numbers'}")
        return value

    def missing(self, key: str) -> CorruptFile:
        """Return the error for a key that has to be there, to be raised."""
        return CorruptFile(self.path, f"its header has no {key!r}.")

    def invalid(self, key: str, expected: str) -> CorruptFile:
        """Return the error for a value that cannot be right, to be raised."""
        if (value := self.values.get(key)) is None:
            return self.missing(key)
        said = "an array" if isinstance(value, HeaderArray) else repr(value)
        return CorruptFile(self.path, f"{key!r} in its header must be {expected}, not {said}.")

    def unsupported(self, reason: str) -> UnsupportedModel:
        """Return the error for what is not implemented, to be raised."""
        return UnsupportedModel(self.path, reason)

    def _same_in_every_layer(self, key: str, array: HeaderArray) -> object:
        if array.kind == STRING or not len(array):
            raise self.invalid(key, "a number")
        values = set(array.numbers())
        if len(values) != 1:
            raise self.unsupported(f"{key!r} differs by layer, which is not implemented.")
        return values.pop()
