"""Phi-3.5-MoE: Mixtral with LayerNorm, LongRoPE and SparseMixer routing.

Source: Abdin et al. 2024, arXiv:2404.14219.
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.mistral import MIXTRAL
from litgpt.domain.families.schema.attention import AttentionSchema, SlidingWindowSchema
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema, RouterSchema
from litgpt.domain.families.schema.norm import LayerNormSchema
from litgpt.domain.families.schema.rope import RopeSchema

_BIAS = ConfigField("attention_bias", default=False)


def _require_two_experts(config: HFConfig) -> Mapping[str, object]:
    """Refuse other numbers of experts per token: SparseMixer routing selects two."""
    experts_per_token = config.get(ConfigField("num_experts_per_tok", 2))
    if experts_per_token != 2:
        raise config.unsupported("num_experts_per_tok", experts_per_token)
    return {}


PHIMOE = attrs.evolve(
    MIXTRAL,
    model_type="phimoe",
    normalize_config=_require_two_experts,
    attention=AttentionSchema(
        qkv_bias=_BIAS,
        output_bias=_BIAS,
        num_kv_heads=ConfigField("num_key_value_heads", 8),
        sliding_window=SlidingWindowSchema(size=ConfigField("sliding_window", None)),
        rope=RopeSchema(theta=ConfigField("rope_theta", 1_000_000.0), explicit_attention_factor=True),
    ),
    mlp=MoESchema(
        num_experts=(ConfigField("num_local_experts", 16),),
        num_experts_per_token=ConfigField("num_experts_per_tok", 2),
        expert=GatedMLPSchema(),
        router=RouterSchema(scoring_func="sparsemixer", jitter=ConfigField("router_jitter_noise", 0.01)),
    ),
    norm=LayerNormSchema(eps=ConfigField("rms_norm_eps", 1e-5)),
    lm_head_bias=ConfigField("lm_head_bias", default=False),
)
