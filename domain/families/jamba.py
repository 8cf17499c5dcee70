"""Jamba: Mamba layers with some layers of attention between them, and experts in every second layer.

Source: Lieber et al. 2024, arXiv:2403.19887.
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.granite_hybrid import BAMBA
from litgpt.domain.families.llama import LLAMA
from litgpt.domain.families.schema.attention import AttentionSchema
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.hybrid import HybridSchema
from litgpt.domain.families.schema.mamba import MambaSchema
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema, RouterSchema
from litgpt.domain.families.schema.norm import RMSNormSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor, linear_tensors

_EXPERTS = ConfigField("num_experts", 16)


def _settings(config: HFConfig) -> Mapping[str, object]:
    """Return the type of each layer, and the layers with experts."""
    layers = range(config.integer(ConfigField("num_hidden_layers")))

    def selected(kind: str, period: int, offset: int) -> list[bool]:
        every = config.integer(ConfigField(f"{kind}_layer_period", period))
        start = config.number_or_zero(ConfigField(f"{kind}_layer_offset", offset))
        return [layer % every == start for layer in layers]

    types = ["full_attention" if it else "linear_attention" for it in selected("attn", 8, 4)]
    experts = selected("expert", 2, 1) if config.integer(_EXPERTS) > 1 else []
    return {
        "layer_types": types,
        "layers_with_experts": [layer for layer, sparse in enumerate(experts) if sparse],
    }


JAMBA = attrs.evolve(
    LLAMA,
    model_type="jamba",
    normalize_config=_settings,
    attention=HybridSchema(
        mixers={
            "full_attention": AttentionSchema(num_kv_heads=ConfigField("num_key_value_heads", 8), rope=None),
            "linear_attention": MambaSchema(
                state_size=ConfigField("mamba_d_state", 16),
                conv_kernel_size=ConfigField("mamba_d_conv", 4),
                expand=ConfigField("mamba_expand", 2),
                inner_size=None,
                time_step_rank=ConfigField("mamba_dt_rank", "auto"),
                conv_bias=ConfigField("mamba_conv_bias", default=True),
                bias=ConfigField("mamba_proj_bias", default=False),
                inner_norm=RMSNormSchema(),
            ),
        },
        default_type=lambda *_: "linear_attention",
    ),
    mlp=MoESchema(
        num_experts=(_EXPERTS,),
        num_experts_per_token=ConfigField("num_experts_per_tok", 2),
        expert=GatedMLPSchema(),
        router=RouterSchema(norm_topk_prob=False),
        moe_layers=ConfigField("layers_with_experts"),
    ),
    context_length=ConfigField("max_position_embeddings", 262_144),
    weights=(
        *BAMBA.weights,
        *(
            rule
            for part in ("dt", "b", "c")
            for rule in linear_tensors(f"attn.{part}_norm", f"mamba.{part}_layernorm")
        ),
        *linear_tensors("attn.x_proj", "mamba.x_proj"),
        *linear_tensors("attn.dt_proj", "mamba.dt_proj"),
        layer_tensor("mlp.gate.weight", "feed_forward.router.weight"),
        *(
            layer_tensor(f"mlp.experts.{{}}.{leaf}.weight", f"feed_forward.experts.{{}}.{name}.weight")
            for leaf, name in (("fc_1", "gate_proj"), ("fc_2", "up_proj"), ("proj", "down_proj"))
        ),
    ),
)
