"""Kolibri 1: pre- and post-norms, no RoPE in full-attention layers, experts selected by their logits.

Source: Aleph Alpha 2026, model card of Kolibri-1.
"""

import attrs

from litgpt.domain.families.deepseek import SHARED_EXPERT_WEIGHTS
from litgpt.domain.families.llama import (
    ATTENTION_WEIGHTS,
    EMBEDDING_WEIGHTS,
    LLAMA,
    NORM_WEIGHTS,
    QK_NORM_WEIGHTS,
)
from litgpt.domain.families.qwen2 import EXPERT_WEIGHTS
from litgpt.domain.families.schema.attention import AttentionSchema, SlidingWindowSchema
from litgpt.domain.families.schema.family import ResidualSchema
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema, RouterSchema
from litgpt.domain.families.schema.norm import QkNormSchema
from litgpt.domain.families.schema.rope import NoPE, RopeSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor, linear_tensors

_WINDOW = ConfigField("sliding_window", 513, nullable=True)

KOLIBRI1 = attrs.evolve(
    LLAMA,
    model_type="kolibri1",
    attribute_map={"num_experts": "num_local_experts"},
    attention=AttentionSchema(
        num_kv_heads=ConfigField("num_key_value_heads", 4),
        head_dim=ConfigField("head_dim", 128),
        qk_norm=QkNormSchema(),
        sliding_window=SlidingWindowSchema(size=_WINDOW, pattern=ConfigField("sliding_window_pattern", 5)),
        rope=RopeSchema(nope_layers=NoPE(layer_type="full_attention", requires=_WINDOW)),
    ),
    mlp=MoESchema(
        num_experts=(ConfigField("num_experts", 384),),
        num_experts_per_token=ConfigField("num_experts_per_tok", 6),
        expert=GatedMLPSchema(intermediate_size=ConfigField("moe_intermediate_size", 512)),
        router=RouterSchema(
            scoring_func="sigmoid_after_topk",
            norm_topk_prob=ConfigField("norm_topk_prob", default=False),
            score_correction_bias=True,
        ),
        shared_expert=GatedMLPSchema(intermediate_size=ConfigField("shared_expert_intermediate_size", 512)),
    ),
    residual=ResidualSchema(post_norm=True),
    context_length=ConfigField("max_position_embeddings", 262_144),
    weights=(
        *EMBEDDING_WEIGHTS,
        *NORM_WEIGHTS,
        *linear_tensors("post_attention_norm", "post_attn_norm"),
        *linear_tensors("post_mlp_norm", "post_ffn_norm"),
        *ATTENTION_WEIGHTS,
        *QK_NORM_WEIGHTS,
        *EXPERT_WEIGHTS,
        *SHARED_EXPERT_WEIGHTS,
        layer_tensor("mlp.gate.e_score_correction_bias", "moe.router.expert_bias"),
    ),
)
