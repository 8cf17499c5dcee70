"""Sarvam 30B: GLM 4.5 with RoPE on whole heads and fused projections.

Source: Sarvam AI 2026, model card of sarvam-30b.
"""

import attrs

from litgpt.domain.families.deepseek import SHARED_EXPERT_WEIGHTS, deepseek_router
from litgpt.domain.families.glm import GLM4_MOE
from litgpt.domain.families.llama import EMBEDDING_WEIGHTS, GATED_MLP_WEIGHTS, LLAMA, NORM_WEIGHTS
from litgpt.domain.families.qwen2 import EXPERT_WEIGHTS
from litgpt.domain.families.schema.attention import AttentionSchema
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema
from litgpt.domain.families.schema.norm import QkNormSchema, RMSNormSchema
from litgpt.domain.families.schema.rope import RopeSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor, linear_tensors, model_tensors

_MOE_INTERMEDIATE_SIZE = ConfigField("moe_intermediate_size", 1024)

SARVAM_MOE = attrs.evolve(
    GLM4_MOE,
    model_type="sarvam_moe",
    # Published configs have the second name of each.
    attribute_map={
        "n_routed_experts": "num_experts",
        "n_shared_experts": "num_shared_experts",
        "attention_bias": "use_qkv_bias",
    },
    attention=AttentionSchema(
        qkv_bias=ConfigField("attention_bias", default=False),
        num_kv_heads=ConfigField("num_key_value_heads", 4),
        head_dim=ConfigField("head_dim", 64),
        qk_norm=QkNormSchema(enabled=ConfigField("use_qk_norm", default=True)),
        rope=RopeSchema(
            theta=ConfigField("rope_theta", 8_000_000.0),
            partial_rotary_factor=ConfigField("partial_rotary_factor", 1.0),
        ),
    ),
    mlp=MoESchema(
        num_experts=(ConfigField("n_routed_experts", 128),),
        num_experts_per_token=ConfigField("num_experts_per_tok", 6),
        expert=GatedMLPSchema(intermediate_size=_MOE_INTERMEDIATE_SIZE),
        router=deepseek_router(),
        shared_expert=GatedMLPSchema(intermediate_size=_MOE_INTERMEDIATE_SIZE),
        num_shared_experts=ConfigField("n_shared_experts", 1),
        first_moe_layer=ConfigField("first_k_dense_replace", 1),
    ),
    norm=RMSNormSchema(),
    unused_tensors=LLAMA.unused_tensors,
    weights=(
        *model_tensors("transformer.wte", "model.word_embeddings"),
        *EMBEDDING_WEIGHTS[2:],
        *NORM_WEIGHTS,
        *linear_tensors("attn.qkv", "attention.query_key_value"),
        *linear_tensors("attn.proj", "attention.dense"),
        *linear_tensors("attn.norm_q", "attention.query_layernorm"),
        *linear_tensors("attn.norm_k", "attention.key_layernorm"),
        *GATED_MLP_WEIGHTS,
        *EXPERT_WEIGHTS,
        *SHARED_EXPERT_WEIGHTS,
        layer_tensor("mlp.gate.e_score_correction_bias", "mlp.gate.expert_bias"),
    ),
)
