"""Read MLPs from a config."""

import attrs

from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.model import (
    Activation,
    GatedMLPSpec,
    MLPSpec,
    SwigluClamp,
)

# Hugging Face's names of activations.
ACTIVATIONS: dict[str, Activation] = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "relu": "relu",
    "relu2": "relu2",
}


def parse_activation(config: HFConfig, key: ConfigField, *, has_learned_params: bool = False) -> Activation:
    """Return the activation; `has_learned_params` permits activations with trained parameters."""
    name = config.get(key)
    if has_learned_params and name == "xielu":
        return "xielu"
    if name not in ACTIVATIONS:
        raise config.unsupported(key.name, name)
    return ACTIVATIONS[name]


@attrs.frozen(kw_only=True)
class MLPSchema:
    """A family's settings of a non-gated MLP with two projections.

    Attributes:
        intermediate_size: Setting with the intermediate size; if None or unset, `hidden_size_multiple` times
            the hidden size.
        has_learned_params: Whether activations with trained parameters are permitted.
    """

    activation: ConfigField = ConfigField("hidden_act", "gelu")
    bias: ConfigField | bool = True
    intermediate_size: ConfigField | None = ConfigField("intermediate_size", None)
    hidden_size_multiple: int = 4
    has_learned_params: bool = False

    def read(self, config: HFConfig, layer: int) -> MLPSpec:  # noqa: ARG002 - all layers are alike
        default = self.hidden_size_multiple * config.integer(ConfigField("hidden_size"))
        return MLPSpec(
            intermediate_size=config.integer(self.intermediate_size.with_default(default))
            if self.intermediate_size
            else default,
            activation=parse_activation(config, self.activation, has_learned_params=self.has_learned_params),
            bias=config.flag(self.bias),
        )


@attrs.frozen(kw_only=True)
class ClampSchema:
    """A family's settings of `SwigluClamp` (clamped SwiGLU)."""

    limit: ConfigField
    alpha: ConfigField | float = 1.0

    def read(self, config: HFConfig) -> SwigluClamp:
        return SwigluClamp(limit=config.number(self.limit), alpha=config.number(self.alpha))


@attrs.frozen(kw_only=True)
class GatedMLPSchema:
    """A family's settings of a gated MLP; `scales` are the factors of the gate and of the output."""

    activation: ConfigField | Activation = ConfigField("hidden_act", "silu")
    bias: ConfigField | bool = False
    intermediate_size: ConfigField = ConfigField("intermediate_size")
    clamp: ClampSchema | None = None
    activation_sparsity: ConfigField | None = None
    scales: ConfigField | None = None

    def read(self, config: HFConfig, layer: int) -> GatedMLPSpec:  # noqa: ARG002 - all layers are alike
        scales = (1.0, 1.0)
        if self.scales is not None and config.is_set(self.scales):
            scales = config.pair(self.scales)
        return GatedMLPSpec(
            intermediate_size=config.integer(self.intermediate_size),
            activation=parse_activation(config, self.activation)
            if isinstance(self.activation, ConfigField)
            else self.activation,
            bias=config.flag(self.bias),
            clamp=self.clamp.read(config) if self.clamp else None,
            activation_sparsity=self._activation_sparsity(config),
            gate_scale=scales[0],
            output_scale=scales[1],
        )

    def _activation_sparsity(self, config: HFConfig) -> float:
        if self.activation_sparsity is None:
            return 0.0
        sparsity = config.number_or_zero(self.activation_sparsity)
        if sparsity >= 1:
            config.raise_invalid(self.activation_sparsity, "less than 1")
        return sparsity
