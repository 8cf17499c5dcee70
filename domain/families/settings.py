"""Reading a Hugging Face `config.json`: typed, and with errors that name the setting."""

import sys
from collections.abc import Mapping
from typing import Any, NoReturn

import attrs

from litgpt.domain.errors import DamagedFile, UnsupportedModel
from litgpt.domain.messages import short_repr
from litgpt.domain.validators import is_integer, is_number

REQUIRED = object()

MOST_LAYERS = 1024
"""The layers that a model may have: DeepNet has 1,000, Llama 3.1 405B has 126."""

_MOST_OF_A_KIND = 2**16
_MOST = 2**40
_LARGEST = sys.float_info.max

LAYER_TABLE = "per_layer_config"
"""The setting in which transformers 5 writes what differs by layer."""

BY_LAYER = frozenset(
    {
        "attention_bias",
        "attention_k_eq_v",
        "head_dim",
        "hidden_act",
        "hidden_activation",
        "intermediate_size",
        "mlp_bias",
        "moe_intermediate_size",
        "n_routed_experts",
        "num_attention_heads",
        "num_experts",
        "num_experts_per_tok",
        "num_key_value_heads",
        "num_local_experts",
        "rms_norm_eps",
        "sliding_window",
        "top_k_experts",
    }
)
"""The settings that a layer of the network may have a value of its own for."""


@attrs.frozen
class Key:
    """A setting that `config.json` holds, and what its absence means.

    Attributes:
        name: What it is called.
        default: What its absence means; without one it has to be there.
        null: Whether null says that there is none; otherwise it says no more than absence.

    """

    name: str
    default: object = REQUIRED
    null: bool = attrs.field(default=False, kw_only=True)

    @property
    def required(self) -> bool:
        """Whether it has to be there."""
        return self.default is REQUIRED

    def or_else(self, default: object) -> "Key":
        """Return this setting with a default that had to be worked out, unless it has one."""
        return attrs.evolve(self, default=default) if self.default is None else self


@attrs.frozen
class Settings:
    """A `config.json`, and the model it belongs to.

    Attributes:
        model: What to call the model in an error.
        values: The parsed file.
        called: What the family calls a setting that most families call otherwise: `n_embd` for `hidden_size`.

    """

    model: str
    values: Mapping[str, Any] = attrs.field(repr=False)
    called: Mapping[str, str] = attrs.field(factory=dict, repr=False)

    def get(self, key: Key) -> Any:
        """Return the setting or its default.

        Raises:
            DamagedFile: It is required and absent.

        """
        name = self.called.get(key.name, key.name)
        value = self.values.get(name, self.values.get(key.name))
        if value is None:
            if key.null and (name in self.values or key.name in self.values):
                return None
            if key.default is REQUIRED:
                raise DamagedFile(f"config.json of {self.model}", f"it has no {name!r}.")
            return key.default
        return value

    def of_layer(self, layer: int) -> "Settings":
        """Return the settings of one layer: the table `per_layer_config` may override some of them."""
        own = self.mapping(Key(LAYER_TABLE)).get(str(layer))
        return attrs.evolve(self, values={**self.values, **own}) if own else self

    def with_checked_layers(self, layers: int) -> "Settings":
        """Return the same settings, their `per_layer_config` validated and its keys without leading zeros.

        transformers writes the table with the layers' numbers as keys, padded so that they sort. An entry
        holds what differs from the rest of the config.

        Raises:
            DamagedFile: It is not a table, or has an entry for a layer that the model does not have.
            UnsupportedModel: It overrides a setting that cannot differ by layer here.

        """
        key = Key(LAYER_TABLE)
        if not (table := self.mapping(key)):
            return self
        checked: dict[str, object] = {}
        for number, own in table.items():
            if not (str(number).isdecimal() and str(number).isascii()) or int(number) >= layers:
                self.refuse_value(key, f"a table with layers from 0 to {layers - 1} as keys")
            if not isinstance(own, Mapping):
                self.refuse_value(key, "a table of settings for each layer")
            for name, value in own.items():
                if name not in BY_LAYER and value not in ([], self.values.get(name)):
                    raise self.refuse(f"{LAYER_TABLE}[{int(number)}].{name}", value)
            checked[str(int(number))] = {name: own[name] for name in own if name in BY_LAYER}
        return attrs.evolve(self, values={**self.values, LAYER_TABLE: checked})

    def has(self, name: str) -> bool:
        """Whether a setting is there and says something."""
        return self.get(Key(name, None)) is not None

    def says(self, key: Key) -> bool:
        """Whether a setting, or its default, is other than null."""
        return self.get(key) is not None

    def integer(self, key: Key) -> int:
        """Return a setting that counts something."""
        value = self.get(key)
        if not is_integer(value, 1):
            self.refuse_value(key, "a positive integer")
        if value > (most := _most(key.name)):
            self.refuse_value(key, f"at most {most:,}")
        return value

    def number(self, key: Key | float) -> float:
        """Return a setting that is a positive number, or the number that the family fixes."""
        if not isinstance(key, Key):
            return float(key)
        value = self.get(key)
        if not is_number(value) or not 0 < value <= _LARGEST:
            self.refuse_value(key, "a finite number above 0")
        return float(value)

    def number_or_zero(self, key: Key) -> float:
        """Return a setting that is a number from 0."""
        return 0.0 if self.get(key) == 0 else self.number(key)

    def numbers(self, key: Key) -> tuple[float, ...]:
        """Return a setting that is a list of positive numbers."""
        value = self.get(key)
        if not isinstance(value, list) or not all(is_number(one) and 0 < one <= _LARGEST for one in value):
            self.refuse_value(key, "a list of finite numbers above 0")
        return tuple(float(one) for one in value)

    def optional(self, key: Key | float | None) -> float | None:
        """Return a setting that is a positive number or not there at all."""
        if key is None or (isinstance(key, Key) and self.get(key) is None):
            return None
        return self.number(key)

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
            f"config.json of {self.model}", f"{key.name} must be {expected}, not {short_repr(self.get(key))}."
        )

    def refuse(self, setting: str, value: object) -> UnsupportedModel:
        """Return the error for a setting that is not implemented, to be raised."""
        return UnsupportedModel(
            self.model, f"its config.json asks for {setting} = {short_repr(value)}, which is not implemented."
        )


def _most(name: str) -> int:
    """Return the largest value of a setting that counts: low for what is built one by one."""
    if name == "num_hidden_layers":
        return MOST_LAYERS
    return _MOST_OF_A_KIND if name.startswith(("num_", "n_")) or "_num_" in name else _MOST
