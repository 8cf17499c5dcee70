"""Read `quantization_config`; unsupported settings are rejected by name."""

from collections.abc import Mapping
from typing import NoReturn

import attrs

from litgpt.domain.errors import UnsupportedModel
from litgpt.domain.validators import is_integer

LARGEST_GROUP = 2**24
"""The maximum number of weights that share a scale, larger than any row."""


@attrs.frozen
class QuantizationConfig:
    """The `quantization_config` of a model; unsupported values of settings raise UnsupportedModel."""

    model: str
    method: str
    values: Mapping[str, object] = attrs.field(repr=False)

    def require_one_of(self, name: str, *allowed: object) -> object:
        """Return a setting, which must be one of the allowed values; the first is the default."""
        value = self.values.get(name)
        if value is None:
            return allowed[0]
        # In Python True == 1, but True is not a valid number of bits.
        if not any(type(option) is type(value) and option == value for option in allowed):
            self.raise_unsupported(name, value, "is not one of " + ", ".join(map(repr, allowed)))
        return value

    def layout(self, names: tuple[str, ...], *allowed: str) -> str:
        """Return the packing layout in lower case, from the first setting; the first value is the default."""
        layouts = [(name, self.values[name]) for name in names if self.values.get(name) is not None]
        for name, value in layouts:
            if not isinstance(value, str) or value.lower() not in allowed:
                self.raise_unsupported(name, value, "is not " + " or ".join(map(repr, allowed)))
        return str(layouts[0][1]).lower() if layouts else allowed[0]

    def require_unset(self, *names: str) -> None:
        for name in names:
            if value := self.values.get(name):
                self.raise_unsupported(name, value)

    def group_size(self, name: str, *, default: int) -> int | None:
        """Return the number of weights that share a scale; None, stored as -1, means a whole row."""
        value = self.values.get(name)
        value = default if value is None else value
        if not is_integer(value, -1) or value == 0 or value > LARGEST_GROUP:
            self.raise_unsupported(name, value, f"is not -1 or an integer from 1 to {LARGEST_GROUP}")
        return None if value == -1 else value

    def raise_unsupported(self, name: str, value: object, reason: str = "is not supported") -> NoReturn:
        message = f"its weights are quantized by {self.method!r}, and {name} = {value!r} {reason}."
        raise UnsupportedModel(self.model, message)
