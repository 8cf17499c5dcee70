"""Read models whose layers differ in their mixers, or consist of a mixer or an MLP only, from a config."""

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

import attrs

from litgpt.domain.families.schema.attention import AttentionSchema, MLASchema
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.mamba import Mamba2Schema, MambaSchema
from litgpt.domain.families.schema.mlp import MLPSchema, parse_activation
from litgpt.domain.families.schema.moe import MoESchema
from litgpt.domain.families.schema.norm import RMSNormSchema
from litgpt.domain.model import (
    AbsentMixerSpec,
    AbsentMLPSpec,
    FeedForwardSpec,
    GatedDeltaSpec,
    KimiDeltaSpec,
    LightningSpec,
    MixerSpec,
    ParallelMixerSpec,
    RGLRUSpec,
    ShortConvSpec,
)


@attrs.frozen(kw_only=True)
class GatedDeltaSchema:
    """A family's settings of Gated DeltaNet."""

    norm: RMSNormSchema = RMSNormSchema()
    num_heads: ConfigField = ConfigField("linear_num_value_heads", 32)
    num_kv_heads: ConfigField = ConfigField("linear_num_key_heads", 16)
    k_head_dim: ConfigField = ConfigField("linear_key_head_dim", 128)
    v_head_dim: ConfigField = ConfigField("linear_value_head_dim", 128)
    allow_neg_eigval: ConfigField | bool = False

    def read(self, config: HFConfig, layer: int) -> GatedDeltaSpec:  # noqa: ARG002 - all layers are alike
        heads, groups = self.num_heads, self.num_kv_heads
        if config.integer(heads) % config.integer(groups):
            config.raise_invalid(groups, f"a divisor of {heads.name} ({config.integer(heads)})")
        return GatedDeltaSpec(
            num_heads=config.integer(heads),
            num_kv_heads=config.integer(groups),
            k_head_dim=config.integer(self.k_head_dim),
            v_head_dim=config.integer(self.v_head_dim),
            conv_kernel_size=config.integer(ConfigField("linear_conv_kernel_dim", 4)),
            activation=parse_activation(config, ConfigField("hidden_act", "silu")),
            norm=self.norm.read(config),
            allow_neg_eigval=config.flag(self.allow_neg_eigval),
        )


@attrs.frozen(kw_only=True)
class ShortConvSchema:
    """A family's settings of gated short convolutions."""

    kernel_size: ConfigField
    bias: ConfigField

    def read(self, config: HFConfig, layer: int) -> ShortConvSpec:  # noqa: ARG002 - all layers are alike
        kernel_size = config.integer(self.kernel_size)
        if kernel_size == 1:
            config.raise_invalid(self.kernel_size, "at least 2")
        return ShortConvSpec(
            channels=config.integer(ConfigField("hidden_size")),
            kernel_size=kernel_size,
            bias=config.flag(self.bias),
        )


@attrs.frozen(kw_only=True)
class LightningSchema:
    """A family's settings of lightning attention."""

    norm: RMSNormSchema

    def read(self, config: HFConfig, layer: int) -> LightningSpec:
        heads = config.integer(ConfigField("num_attention_heads"))
        layers = config.integer(ConfigField("num_hidden_layers"))
        width = config.integer(ConfigField("hidden_size"))
        # The slopes of ALiBi, smaller in later layers.
        slower = 1 - layer / (layers - 1 + 1e-5) + 1e-5
        return LightningSpec(
            head_dim=config.integer(ConfigField("head_dim", width // heads)),
            decay=tuple(2 ** (-8 * (head + 1) / heads) * slower for head in range(heads)),
            activation=parse_activation(config, ConfigField("hidden_act", "silu")),
            norm=self.norm.read(config),
        )


@attrs.frozen(kw_only=True)
class KimiDeltaSchema:
    """A family's settings of Kimi Delta Attention.

    Attributes:
        low_rank_gates: Whether the decay and the output gate are projected by way of `head_dim` values.
        decay_lower_bound: Function that reads the lower bound of the logarithm of the decay.
    """

    num_heads: ConfigField
    head_dim: ConfigField
    conv_kernel_size: ConfigField
    norm: RMSNormSchema
    low_rank_gates: bool = False
    decay_lower_bound: Callable[[HFConfig], float | None] | None = None

    def read(self, config: HFConfig, layer: int) -> KimiDeltaSpec:  # noqa: ARG002 - all layers are alike
        head_dim = config.integer(self.head_dim)
        return KimiDeltaSpec(
            num_heads=config.integer(self.num_heads),
            head_dim=head_dim,
            conv_kernel_size=config.integer(self.conv_kernel_size),
            activation=parse_activation(config, ConfigField("hidden_act", "silu")),
            norm=self.norm.read(config),
            gate_rank=head_dim if self.low_rank_gates else None,
            decay_lower_bound=self.decay_lower_bound(config) if self.decay_lower_bound else None,
        )


@attrs.frozen(kw_only=True)
class RGLRUSchema:
    """A family's settings of the recurrent block of Griffin."""

    def read(self, config: HFConfig, layer: int) -> RGLRUSpec:  # noqa: ARG002 - all layers are alike
        width = ConfigField("lru_width", config.integer(ConfigField("hidden_size")))
        blocks = config.integer(ConfigField("num_attention_heads"))
        if config.integer(width) % blocks:
            config.raise_invalid(width, f"a multiple of num_attention_heads ({blocks})")
        return RGLRUSpec(
            width=config.integer(width),
            num_blocks=blocks,
            conv_kernel_size=config.integer(ConfigField("conv1d_width", 4)),
            activation=parse_activation(config, ConfigField("hidden_act", "gelu_pytorch_tanh")),
        )


class MixerSchema(Protocol):
    """A family's settings of a mixer."""

    def read(self, config: HFConfig, layer: int) -> MixerSpec:
        """Return the mixer of a layer."""


@attrs.frozen(kw_only=True)
class HybridSchema:
    """Layers with different mixers.

    Attributes:
        mixers: The mixer of each type in the config's `layer_types`.
        default_type: Function of the config and a layer that returns its type in a config without
            `layer_types`.
    """

    mixers: Mapping[str, MixerSchema]
    default_type: Callable[[HFConfig, int], str]

    def layer_type(self, config: HFConfig, layer: int) -> str:
        """Return the layer's Hugging Face type, such as `full_attention`."""
        key = ConfigField("layer_types", None)
        kinds = config.get(key)
        if kinds is None:
            return self.default_type(config, layer)
        if not isinstance(kinds, list) or len(kinds) <= layer:
            config.raise_invalid(key, "a list with an entry for each layer")
        if not isinstance(kinds[layer], str) or kinds[layer] not in self.mixers:
            raise config.unsupported(key.name, kinds[layer])
        return str(kinds[layer])

    def read(self, config: HFConfig, layer: int) -> MixerSpec:
        return self.mixers[self.layer_type(config, layer)].read(config, layer)


def full_attention_every(period: ConfigField | int) -> Callable[[HFConfig, int], str]:
    """Return the function of a layer's type: the last layer of each period has full attention."""

    def layer_type(config: HFConfig, layer: int) -> str:
        every = period if isinstance(period, int) else config.integer(period)
        return "linear_attention" if (layer + 1) % every else "full_attention"

    return layer_type


@attrs.frozen
class AbsentMixerSchema:
    """Layers that consist of an MLP only."""

    def read(self, config: HFConfig, layer: int) -> AbsentMixerSpec:  # noqa: ARG002 - all layers are alike
        return AbsentMixerSpec()


@attrs.frozen(kw_only=True)
class ParallelMixerSchema:
    """A family's settings of `ParallelMixerSpec`.

    Attributes:
        key_scale: Setting with a factor of the keys, which multiplies the scale of attention.
        input_scales: Settings with the factors of the inputs of attention and of the state space.
        output_scales: The same for the outputs.
    """

    attention: AttentionSchema
    state_space: Mamba2Schema
    key_scale: ConfigField
    input_scales: tuple[ConfigField, ConfigField]
    output_scales: tuple[ConfigField, ConfigField]

    def read(self, config: HFConfig, layer: int) -> ParallelMixerSpec:
        attention = self.attention.read(config, layer)
        scales = [
            (config.number(before), config.number(after))
            for before, after in zip(self.input_scales, self.output_scales, strict=True)
        ]
        return ParallelMixerSpec(
            attention=attrs.evolve(attention, scale=attention.scale * config.number(self.key_scale)),
            state_space=self.state_space.read(config, layer),
            attention_scales=scales[0],
            state_space_scales=scales[1],
        )


@attrs.frozen
class AbsentMLPSchema:
    """Layers that consist of a mixer only."""

    def read(self, config: HFConfig, layer: int) -> AbsentMLPSpec:  # noqa: ARG002 - all layers are alike
        return AbsentMLPSpec()


@attrs.frozen(kw_only=True)
class MLPLayersSchema:
    """Layers that are an MLP (`mlp`) or a mixture of experts (`moe`); the others consist of a mixer."""

    dense: MLPSchema
    moe: MoESchema

    def read(self, config: HFConfig, layer: int) -> FeedForwardSpec:
        match _layer_type(config, layer, None):
            case "mlp":
                return self.dense.read(config, layer)
            case "moe":
                return self.moe.read(config, layer)
            case _:
                return AbsentMLPSpec()


def current_layer_types(kinds: object) -> object:
    """Return a setting with layer types; earlier versions of transformers write `attention` and `mamba`."""
    current = {"attention": "full_attention", "mamba": "linear_attention"}
    return [current.get(str(kind), kind) for kind in kinds] if isinstance(kinds, list) else kinds


def _layer_type(config: HFConfig, layer: int, default: str | None) -> object:
    kinds = config.get(ConfigField("layer_types", [default] * (layer + 1)))
    if not isinstance(kinds, list) or len(kinds) <= layer:
        config.raise_invalid(ConfigField("layer_types"), "a list with an entry for each layer")
    return kinds[layer]


AnyMixerSchema: TypeAlias = (
    AttentionSchema | MLASchema | HybridSchema | Mamba2Schema | MambaSchema | ParallelMixerSchema
)
