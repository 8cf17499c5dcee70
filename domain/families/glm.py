"""GLM 4 (`glm`): interleaved partial RoPE. GLM 4 of 2025 (`glm4`): also post-norms. GLM 4.5 and later: MoE.

Source: GLM Team 2024, arXiv:2406.12793; 2025, arXiv:2508.06471.
"""

import attrs

from litgpt.domain.families.deepseek import SCORE_CORRECTION_WEIGHTS, SHARED_EXPERT_WEIGHTS, deepseek_router
from litgpt.domain.families.llama import (
    ATTENTION_WEIGHTS,
    EMBEDDING_WEIGHTS,
    GATED_MLP_WEIGHTS,
    LLAMA,
    NORM_WEIGHTS,
    QK_NORM_WEIGHTS,
)
from litgpt.domain.families.phi import GATE_UP_WEIGHTS
from litgpt.domain.families.qwen2 import EXPERT_WEIGHTS
from litgpt.domain.families.schema.attention import AttentionSchema
from litgpt.domain.families.schema.family import ResidualSchema
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema
from litgpt.domain.families.schema.norm import QkNormSchema, RMSNormSchema
from litgpt.domain.families.schema.rope import RopeSchema
from litgpt.domain.families.schema.weight_rules import linear_tensors

_PARTIAL = ConfigField("partial_rotary_factor", 0.5)

GLM4 = attrs.evolve(
    LLAMA,
    model_type="glm4",
    attention=AttentionSchema(
        qkv_bias=ConfigField("attention_bias", default=True),
        num_kv_heads=ConfigField("num_key_value_heads", 2),
        head_dim=ConfigField("head_dim", 128),
        rope=RopeSchema(partial_rotary_factor=_PARTIAL, interleaved=True),
    ),
    mlp=GatedMLPSchema(),
    norm=RMSNormSchema(eps=ConfigField("rms_norm_eps", 1.5625e-07)),
    residual=ResidualSchema(post_norm=True),
    context_length=ConfigField("max_position_embeddings", 131_072),
    weights=(
        *EMBEDDING_WEIGHTS,
        *NORM_WEIGHTS,
        *ATTENTION_WEIGHTS,
        *GATE_UP_WEIGHTS,
        *linear_tensors("post_attention_norm", "post_self_attn_layernorm"),
        *linear_tensors("post_mlp_norm", "post_mlp_layernorm"),
    ),
)

GLM = attrs.evolve(
    GLM4,
    model_type="glm",
    residual=ResidualSchema(),
    weights=(*EMBEDDING_WEIGHTS, *NORM_WEIGHTS, *ATTENTION_WEIGHTS, *GATE_UP_WEIGHTS),
)

_MOE_INTERMEDIATE_SIZE = ConfigField("moe_intermediate_size", 1408)

GLM4_MOE = attrs.evolve(
    LLAMA,
    model_type="glm4_moe",
    attention=AttentionSchema(
        qkv_bias=ConfigField("attention_bias", default=False),
        num_kv_heads=ConfigField("num_key_value_heads", 8),
        qk_norm=QkNormSchema(
            norm=RMSNormSchema(eps=ConfigField("rms_norm_eps", 1e-5)),
            enabled=ConfigField("use_qk_norm", default=False),
        ),
        rope=RopeSchema(partial_rotary_factor=_PARTIAL),
    ),
    mlp=MoESchema(
        expert=GatedMLPSchema(intermediate_size=_MOE_INTERMEDIATE_SIZE),
        num_experts_per_token=ConfigField("num_experts_per_tok", 8),
        router=deepseek_router(routed_scaling_factor=1.0),
        shared_expert=GatedMLPSchema(intermediate_size=_MOE_INTERMEDIATE_SIZE),
        num_shared_experts=ConfigField("n_shared_experts", 1),
        first_moe_layer=ConfigField("first_k_dense_replace", 1),
    ),
    norm=RMSNormSchema(eps=ConfigField("rms_norm_eps", 1e-5)),
    context_length=ConfigField("max_position_embeddings", 131_072),
    # The extra layer is for multi-token prediction: number 46 in GLM-4.5-Air, 92 in GLM-4.5 to 4.7.
    unused_tensors=(*LLAMA.unused_tensors, "model.layers.46.*", "model.layers.92.*"),
    weights=(
        *EMBEDDING_WEIGHTS,
        *NORM_WEIGHTS,
        *ATTENTION_WEIGHTS,
        *QK_NORM_WEIGHTS,
        *GATED_MLP_WEIGHTS,
        *EXPERT_WEIGHTS,
        *SHARED_EXPERT_WEIGHTS,
        *SCORE_CORRECTION_WEIGHTS,
    ),
)
