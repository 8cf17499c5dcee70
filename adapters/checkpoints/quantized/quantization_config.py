"""Reading `quantization_config`: what it says is taken, or refused by name."""

from collections.abc import Mapping
from typing import NoReturn

import attrs

from litgpt.domain.errors import UnsupportedModel
from litgpt.domain.validators import is_integer

LARGEST_GROUP = 2**24
"""How many weights, of a row or of a column, can share a scale: more than any row has."""


@attrs.frozen
class QuantizationConfig:
    """A `quantization_config`, and the model it belongs to.

    Attributes:
        model: What to call the model in an error.
        method: Its `quant_method`.
        values: All of it.

    """

    model: str
    method: str
    values: Mapping[str, object] = attrs.field(repr=False)

    def require_one_of(self, name: str, *allowed: object) -> object:
        """Return a setting, which has to be one of some values; the first is what its absence means.

        Raises:
            UnsupportedModel: It is another.

        """
        value = self.values.get(name)
        if value is None:
            return allowed[0]
        # True is 1 to Python, and no number of bits.
        if not any(type(one) is type(value) and one == value for one in allowed):
            self.raise_unsupported(name, value, "is not one of " + ", ".join(repr(one) for one in allowed))
        return value

    def layout(self, names: tuple[str, ...], *allowed: str) -> str:
        """Return how numbers are laid out, in small letters; the first allowed is what absence means.

        Args:
            names: The settings that may say it, of which the first that does is followed.
            allowed: What they may say.

        Raises:
            UnsupportedModel: One says anything else.

        """
        said = [(name, self.values[name]) for name in names if self.values.get(name) is not None]
        for name, value in said:
            if not isinstance(value, str) or value.lower() not in allowed:
                self.raise_unsupported(name, value, "is not " + " or ".join(repr(one) for one in allowed))
        return str(said[0][1]).lower() if said else allowed[0]

    def require_unset(self, *names: str) -> None:
        """Check that settings are not there, or say nothing.

        Raises:
            UnsupportedModel: One says something.

        """
        for name in names:
            if value := self.values.get(name):
                self.raise_unsupported(name, value)

    def group_size(self, name: str, *, default: int) -> int | None:
        """Return how many weights share a scale; None, written -1, is all of a row.

        Raises:
            UnsupportedModel: It is no such number.

        """
        value = self.values.get(name)
        value = default if value is None else value
        if not is_integer(value, -1) or value == 0 or value > LARGEST_GROUP:
            self.raise_unsupported(name, value, f"is not -1 or a number of weights from 1 to {LARGEST_GROUP}")
        return None if value == -1 else value

    def raise_unsupported(self, name: str, value: object, reason: str = "is not implemented") -> NoReturn:
        """Raise the error that names the method and the setting."""
        said = f"its weights are quantized by {self.method!r}, and {name} = {value!r} {reason}."
        raise UnsupportedModel(self.model, said)
