"""Command R: parallel attention and MLP after one LayerNorm, interleaved RoPE, scaled logits.

Command R7B and Command A (`cohere2`): three sliding-window layers to one full-attention layer without RoPE.
Source: Cohere 2024, model cards of c4ai-command-r-v01 and c4ai-command-r7b-12-2024; 2025, arXiv:2504.00698.
"""

import attrs

from litgpt.domain.families.llama import (
    ATTENTION_WEIGHTS,
    BIASED_ATTENTION,
    EMBEDDING_WEIGHTS,
    GATED_MLP_WEIGHTS,
    LLAMA,
)
from litgpt.domain.families.schema.attention import SlidingWindowSchema
from litgpt.domain.families.schema.family import ResidualSchema
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.norm import LayerNormSchema, QkNormSchema
from litgpt.domain.families.schema.rope import NoPE, RopeSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor

_NORM = LayerNormSchema(bias=False)

COHERE = attrs.evolve(
    LLAMA,
    model_type="cohere",
    attention=attrs.evolve(
        BIASED_ATTENTION,
        qk_norm=QkNormSchema(norm=_NORM, scope="heads", enabled=ConfigField("use_qk_norm", default=False)),
        rope=RopeSchema(theta=ConfigField("rope_theta", 500_000.0), interleaved=True),
    ),
    mlp=GatedMLPSchema(),
    norm=_NORM,
    residual=ResidualSchema(parallel=True, shared_norm=True),
    logit_scale=ConfigField("logit_scale", 0.0625),
    tie_word_embeddings=ConfigField("tie_word_embeddings", default=True),
    context_length=ConfigField("max_position_embeddings", 8192),
    weights=(
        *EMBEDDING_WEIGHTS,
        *ATTENTION_WEIGHTS,
        *GATED_MLP_WEIGHTS,
        layer_tensor("norm_1.weight", "input_layernorm.weight"),
        layer_tensor("attn.norm_q.weight", "self_attn.q_norm.weight", vector_as_matrix=True),
        layer_tensor("attn.norm_k.weight", "self_attn.k_norm.weight", vector_as_matrix=True),
    ),
)

COHERE2 = attrs.evolve(
    COHERE,
    model_type="cohere2",
    attention=attrs.evolve(
        BIASED_ATTENTION,
        sliding_window=SlidingWindowSchema(
            size=ConfigField("sliding_window", 4096, nullable=True),
            pattern=ConfigField("sliding_window_pattern", 4),
        ),
        rope=RopeSchema(interleaved=True, nope_layers=NoPE(layer_type="full_attention")),
    ),
)
