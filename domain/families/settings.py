"""Reading a Hugging Face `config.json`: typed, and with errors that name the setting."""

from collections.abc import Mapping
from typing import Any, NoReturn

import attrs

from litgpt.domain.errors import DamagedFile, UnsupportedModel

REQUIRED = object()


@attrs.frozen
class Key:
    """A setting that `config.json` holds, and what its absence means."""

    name: str
    default: object = REQUIRED


@attrs.frozen
class Settings:
    """A `config.json`, and the model it belongs to.

    Attributes:
        model: What to call the model in an error.
        values: The parsed file.

    """

    model: str
    values: Mapping[str, Any] = attrs.field(repr=False)

    def get(self, key: Key) -> Any:
        """Return the setting or its default.

        Raises:
            DamagedFile: It is required and absent.

        """
        value = self.values.get(key.name)
        if value is None:
            if key.default is REQUIRED:
                raise DamagedFile(f"config.json of {self.model}", f"it has no {key.name!r}.")
            return key.default
        return value

    def integer(self, key: Key) -> int:
        """Return a setting that counts something."""
        value = self.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            self.refuse_value(key, "a whole number from 1")
        return value

    def number(self, key: Key) -> float:
        """Return a setting that is a positive number."""
        value = self.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
            self.refuse_value(key, "a number above 0")
        return float(value)

    def flag(self, key: Key | bool) -> bool:  # noqa: FBT001 - a family may fix a setting
        """Return a setting that is on or off, or that the family fixes."""
        if isinstance(key, bool):
            return key
        value = self.get(key)
        if not isinstance(value, bool):
            self.refuse_value(key, "true or false")
        return value

    def mapping(self, key: Key) -> Mapping[str, Any]:
        """Return a setting that holds settings; empty if it is absent."""
        value = self.values.get(key.name)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.refuse_value(key, "a set of names and values")
        return dict(value)

    def refuse_value(self, key: Key, expected: str) -> NoReturn:
        """Say that a setting cannot be right."""
        raise DamagedFile(
            f"config.json of {self.model}", f"{key.name} must be {expected}, not {self.get(key)!r}."
        )

    def refuse(self, setting: str, value: object) -> UnsupportedModel:
        """Return the error for a setting that is not implemented, to be raised."""
        return UnsupportedModel(
            self.model, f"its config.json asks for {setting} = {value!r}, which is not implemented."
        )
