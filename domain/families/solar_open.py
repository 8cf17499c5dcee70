"""Solar Open: GLM 4.5 without QK-Norm, with RoPE on whole heads and experts in every layer.

Source: Upstage 2026, "Solar Open Technical Report".
"""

import attrs

from litgpt.domain.families.deepseek import SCORE_CORRECTION_WEIGHTS, SHARED_EXPERT_WEIGHTS, deepseek_router
from litgpt.domain.families.glm import GLM4_MOE
from litgpt.domain.families.llama import ATTENTION_BIAS, ATTENTION_WEIGHTS, EMBEDDING_WEIGHTS, NORM_WEIGHTS
from litgpt.domain.families.qwen2 import EXPERT_WEIGHTS
from litgpt.domain.families.schema.attention import AttentionSchema
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema
from litgpt.domain.families.schema.rope import RopeSchema

_MOE_INTERMEDIATE_SIZE = ConfigField("moe_intermediate_size", 1280)

SOLAR_OPEN = attrs.evolve(
    GLM4_MOE,
    model_type="solar_open",
    attention=AttentionSchema(
        qkv_bias=ATTENTION_BIAS,
        num_kv_heads=ConfigField("num_key_value_heads", 8),
        head_dim=ConfigField("head_dim", 128),
        rope=RopeSchema(
            theta=ConfigField("rope_theta", 1_000_000.0),
            partial_rotary_factor=ConfigField("partial_rotary_factor", 1.0),
        ),
    ),
    mlp=MoESchema(
        num_experts=(ConfigField("n_routed_experts", 128),),
        num_experts_per_token=ConfigField("num_experts_per_tok", 8),
        expert=GatedMLPSchema(intermediate_size=_MOE_INTERMEDIATE_SIZE),
        router=deepseek_router(routed_scaling_factor=1.0),
        shared_expert=GatedMLPSchema(intermediate_size=_MOE_INTERMEDIATE_SIZE),
        num_shared_experts=ConfigField("n_shared_experts", 1),
    ),
    unused_tensors=("*.rotary_emb.inv_freq",),
    unsupported_settings=(*GLM4_MOE.unsupported_settings, "use_qk_norm", "first_k_dense_replace"),
    weights=(
        *EMBEDDING_WEIGHTS,
        *NORM_WEIGHTS,
        *ATTENTION_WEIGHTS,
        *EXPERT_WEIGHTS,
        *SHARED_EXPERT_WEIGHTS,
        *SCORE_CORRECTION_WEIGHTS,
    ),
)
