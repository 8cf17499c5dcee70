"""Read models with both attention and linear attention from a config."""

from typing import TypeAlias

import attrs

from litgpt.domain.families.schema.attention import AttentionSchema, MLASchema
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.mamba import Mamba2Schema
from litgpt.domain.families.schema.mlp import parse_activation
from litgpt.domain.families.schema.norm import RMSNormSchema
from litgpt.domain.model import AttentionSpec, GatedDeltaSpec, Mamba2Spec


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

    Without `layer_types` in the config, every `full_attention_interval`-th layer uses full attention; if that
    is None, no layer does. Earlier versions of transformers write `attention` and `mamba`.
    """

    full_attention: AttentionSchema
    linear_attention: GatedDeltaSchema | Mamba2Schema
    full_attention_interval: ConfigField | None = None

    def read(self, config: HFConfig, layer: int) -> AttentionSpec | GatedDeltaSpec | Mamba2Spec:
        every = config.integer(self.full_attention_interval) if self.full_attention_interval else 0
        default = "full_attention" if every and (layer + 1) % every == 0 else "linear_attention"
        kinds = config.get(ConfigField("layer_types", [default] * (layer + 1)))
        if not isinstance(kinds, list) or len(kinds) <= layer:
            config.raise_invalid(ConfigField("layer_types"), "a list with an entry for each layer")
        match kinds[layer]:
            case "full_attention" | "attention":
                return self.full_attention.read(config, layer)
            case "linear_attention" | "mamba":
                return self.linear_attention.read(config, layer)
            case kind:
                raise config.unsupported("layer_types", kind)


AnyMixerSchema: TypeAlias = AttentionSchema | MLASchema | HybridSchema | Mamba2Schema
