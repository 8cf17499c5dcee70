"""Read models whose layers differ in their mixers, or consist of a mixer or an MLP only, from a config."""

from typing import TypeAlias

import attrs

from litgpt.domain.families.schema.attention import AttentionSchema, MLASchema
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.mamba import Mamba2Schema, MambaSchema
from litgpt.domain.families.schema.mlp import MLPSchema, MoESchema, parse_activation
from litgpt.domain.families.schema.norm import RMSNormSchema
from litgpt.domain.model import (
    AbsentMixerSpec,
    AbsentMLPSpec,
    FeedForwardSpec,
    GatedDeltaSpec,
    MixerSpec,
    ParallelMixerSpec,
)


@attrs.frozen(kw_only=True)
class GatedDeltaSchema:
    """A family's settings of Gated DeltaNet."""

    norm: RMSNormSchema = RMSNormSchema()

    def read(self, config: HFConfig, layer: int) -> GatedDeltaSpec:  # noqa: ARG002 - all layers are alike
        heads, groups = ConfigField("linear_num_value_heads", 32), ConfigField("linear_num_key_heads", 16)
        if config.integer(heads) % config.integer(groups):
            config.raise_invalid(groups, f"a divisor of {heads.name} ({config.integer(heads)})")
        return GatedDeltaSpec(
            num_heads=config.integer(heads),
            num_kv_heads=config.integer(groups),
            k_head_dim=config.integer(ConfigField("linear_key_head_dim", 128)),
            v_head_dim=config.integer(ConfigField("linear_value_head_dim", 128)),
            conv_kernel_size=config.integer(ConfigField("linear_conv_kernel_dim", 4)),
            activation=parse_activation(config, ConfigField("hidden_act", "silu")),
            norm=self.norm.read(config),
        )


@attrs.frozen(kw_only=True)
class HybridSchema:
    """Alternating full-attention (`full_attention`) and linear-attention (`linear_attention`) layers.

    With `has_mlp_layers`, layers of type `mlp` and `moe` have no mixer.

    Without `layer_types` in the config, every `full_attention_interval`-th layer uses full attention; if that
    is None, no layer does.
    """

    full_attention: AttentionSchema
    linear_attention: GatedDeltaSchema | Mamba2Schema | MambaSchema
    full_attention_interval: ConfigField | None = None
    has_mlp_layers: bool = False

    def read(self, config: HFConfig, layer: int) -> MixerSpec:
        every = config.integer(self.full_attention_interval) if self.full_attention_interval else 0
        default = "full_attention" if every and (layer + 1) % every == 0 else "linear_attention"
        match _layer_type(config, layer, default):
            case "full_attention":
                return self.full_attention.read(config, layer)
            case "linear_attention":
                return self.linear_attention.read(config, layer)
            case "mlp" | "moe" if self.has_mlp_layers:
                return AbsentMixerSpec()
            case kind:
                raise config.unsupported("layer_types", kind)


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
