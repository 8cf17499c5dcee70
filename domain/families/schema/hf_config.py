"""Typed access to a Hugging Face `config.json`, with errors that name the setting."""

import sys
from collections.abc import Mapping
from typing import Any, NoReturn

import attrs

from litgpt.domain.errors import CorruptFile, UnsupportedModel
from litgpt.domain.formatting.bounded_text import short_repr
from litgpt.domain.validators import is_integer, is_number

REQUIRED = object()

MAX_LAYERS = 1024
"""Largest number of layers: DeepNet has 1,000, Llama 3.1 405B has 126."""

_MAX_COUNT = 2**16
_MAX_SIZE = 2**40
_LARGEST = sys.float_info.max

PER_LAYER_CONFIG = "per_layer_config"
"""Setting in which transformers 5 stores per-layer overrides."""

PER_LAYER_SETTINGS = frozenset(
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
"""Settings that `per_layer_config` may override."""


@attrs.frozen
class ConfigField:
    """A setting of `config.json`; without a default, it is required.

    Null is a value (None) if `nullable`, and otherwise the same as absence.
    """

    name: str
    default: object = REQUIRED
    nullable: bool = attrs.field(default=False, kw_only=True)

    @property
    def required(self) -> bool:
        return self.default is REQUIRED

    def with_default(self, default: object) -> "ConfigField":
        """Return this setting with a computed default, unless it has one."""
        return attrs.evolve(self, default=default) if self.default is None else self


@attrs.frozen
class HFConfig:
    """A `config.json`, and the name of its model for error messages.

    `attribute_map` has the family's names of common settings, such as `n_embd` for `hidden_size`.
    """

    model: str
    values: Mapping[str, Any] = attrs.field(repr=False)
    attribute_map: Mapping[str, str] = attrs.field(factory=dict, repr=False)

    def get(self, key: ConfigField) -> Any:
        """Return the setting or its default; raise CorruptFile if it is required and absent."""
        name = self.attribute_map.get(key.name, key.name)
        value = self.values.get(name, self.values.get(key.name))
        if value is None:
            if key.nullable and (name in self.values or key.name in self.values):
                return None
            if key.default is REQUIRED:
                raise CorruptFile(f"config.json of {self.model}", f"it has no {name!r}.")
            return key.default
        return value

    def for_layer(self, layer: int) -> "HFConfig":
        """Return the settings of one layer, with its overrides in `per_layer_config` applied."""
        overrides = self.mapping(ConfigField(PER_LAYER_CONFIG)).get(str(layer))
        return attrs.evolve(self, values={**self.values, **overrides}) if overrides else self

    def with_checked_layers(self, num_layers: int) -> "HFConfig":
        """Return the settings with `per_layer_config` validated and its keys without leading zeros.

        transformers uses zero-padded layer indices as keys; each entry overrides settings of that layer.
        """
        key = ConfigField(PER_LAYER_CONFIG)
        if not (table := self.mapping(key)):
            return self
        checked: dict[str, object] = {}
        for number, overrides in table.items():
            if not (str(number).isdecimal() and str(number).isascii()) or int(number) >= num_layers:
                self.raise_invalid(key, f"an object with layer indices from 0 to {num_layers - 1} as keys")
            if not isinstance(overrides, Mapping):
                self.raise_invalid(key, "an object with an object of settings for each layer")
            for name, value in overrides.items():
                if name not in PER_LAYER_SETTINGS and value not in ([], self.values.get(name)):
                    raise self.unsupported(f"{PER_LAYER_CONFIG}[{int(number)}].{name}", value)
            checked[str(int(number))] = {
                name: value for name, value in overrides.items() if name in PER_LAYER_SETTINGS
            }
        return attrs.evolve(self, values={**self.values, PER_LAYER_CONFIG: checked})

    def has_value(self, name: str) -> bool:
        return self.get(ConfigField(name, None)) is not None

    def is_set(self, key: ConfigField) -> bool:
        """Return whether a setting, or its default, is not null."""
        return self.get(key) is not None

    def integer(self, key: ConfigField) -> int:
        """Return a positive integer setting within its limit."""
        value = self.get(key)
        if not is_integer(value, 1):
            self.raise_invalid(key, "a positive integer")
        if value > (limit := _max_value(key.name)):
            self.raise_invalid(key, f"at most {limit:,}")
        return value

    def number(self, key: ConfigField | float) -> float:
        """Return a positive number setting, or the family's constant."""
        if not isinstance(key, ConfigField):
            return float(key)
        value = self.get(key)
        if not is_number(value) or not 0 < value <= _LARGEST:
            self.raise_invalid(key, "a finite number above 0")
        return float(value)

    def number_or_zero(self, key: ConfigField) -> float:
        return 0.0 if self.get(key) == 0 else self.number(key)

    def numbers(self, key: ConfigField) -> tuple[float, ...]:
        value = self.get(key)
        if not isinstance(value, list) or not all(
            is_number(number) and 0 < number <= _LARGEST for number in value
        ):
            self.raise_invalid(key, "a list of finite numbers above 0")
        return tuple(float(number) for number in value)

    def pair(self, key: ConfigField) -> tuple[float, float]:
        """Return a setting that is a list of two positive numbers."""
        values = self.numbers(key)
        if len(values) != 2:
            self.raise_invalid(key, "a list of two numbers")
        return values[0], values[1]

    def optional(self, key: ConfigField | float | None) -> float | None:
        """Return a positive number setting, or None if it is unset."""
        if key is None or (isinstance(key, ConfigField) and self.get(key) is None):
            return None
        return self.number(key)

    def flag(self, key: ConfigField | bool) -> bool:  # noqa: FBT001 - a family may fix a setting
        if isinstance(key, bool):
            return key
        value = self.get(key)
        if not isinstance(value, bool):
            self.raise_invalid(key, "true or false")
        return value

    def mapping(self, key: ConfigField) -> Mapping[str, Any]:
        value = self.values.get(key.name)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.raise_invalid(key, "an object")
        return dict(value)

    def raise_invalid(self, key: ConfigField, expected: str) -> NoReturn:
        raise CorruptFile(
            f"config.json of {self.model}", f"{key.name} must be {expected}, not {short_repr(self.get(key))}."
        )

    def unsupported(self, setting: str, value: object) -> UnsupportedModel:
        return UnsupportedModel(
            self.model, f"its config.json requires {setting} = {short_repr(value)}, which is not implemented."
        )


def _max_value(name: str) -> int:
    """Return the limit of an integer setting; counts of layers, heads and experts have lower limits."""
    if name == "num_hidden_layers":
        return MAX_LAYERS
    return _MAX_COUNT if name.startswith(("num_", "n_")) or "_num_" in name else _MAX_SIZE
