"""Trinity (AFMoE): gated attention, pre- and post-norms, no RoPE in full-attention layers, experts.

Source: Arcee AI 2025, "The Trinity Manifesto"; 2026, "Arcee Trinity Large Technical Report".
"""

import attrs

from litgpt.domain.families.deepseek import SHARED_EXPERT_WEIGHTS
from litgpt.domain.families.llama import (
    ATTENTION_WEIGHTS,
    EMBEDDING_WEIGHTS,
    GATED_MLP_WEIGHTS,
    LLAMA,
    QK_NORM_WEIGHTS,
)
from litgpt.domain.families.qwen2 import EXPERT_WEIGHTS
from litgpt.domain.families.schema.attention import AttentionSchema, SlidingWindowSchema
from litgpt.domain.families.schema.family import ResidualSchema
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema, RouterSchema
from litgpt.domain.families.schema.norm import QkNormSchema, RMSNormSchema
from litgpt.domain.families.schema.rope import NoPE, RopeSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor, linear_tensors

_NORM = RMSNormSchema(eps=ConfigField("rms_norm_eps", 1e-5))
_MOE_INTERMEDIATE_SIZE = ConfigField("moe_intermediate_size", 1408)

AFMOE = attrs.evolve(
    LLAMA,
    model_type="afmoe",
    attention=AttentionSchema(
        head_dim=ConfigField("head_dim", 128, nullable=True),
        qk_norm=QkNormSchema(norm=_NORM),
        output_gate=True,
        sliding_window=SlidingWindowSchema(
            size=ConfigField("sliding_window", 1024), pattern=ConfigField("global_attn_every_n_layers", 4)
        ),
        rope=RopeSchema(nope_layers=NoPE(layer_type="full_attention")),
    ),
    mlp=MoESchema(
        num_experts=(ConfigField("num_experts", 64),),
        num_experts_per_token=ConfigField("num_experts_per_tok", 6),
        expert=GatedMLPSchema(intermediate_size=_MOE_INTERMEDIATE_SIZE),
        router=RouterSchema(
            scoring_func="sigmoid",
            routed_scaling_factor=ConfigField("route_scale", 1.0),
            score_correction_bias=True,
        ),
        shared_expert=GatedMLPSchema(intermediate_size=_MOE_INTERMEDIATE_SIZE),
        num_shared_experts=ConfigField("num_shared_experts", 2),
        first_moe_layer=ConfigField("num_dense_layers", 1),
    ),
    norm=_NORM,
    residual=ResidualSchema(post_norm=True),
    scale_embedding=ConfigField("mup_enabled", default=False),
    context_length=ConfigField("max_position_embeddings", 16_384),
    # The gate of the attention has no bias.
    unsupported_settings=(*LLAMA.unsupported_settings, "attention_bias"),
    weights=(
        *EMBEDDING_WEIGHTS,
        *linear_tensors("norm_1", "input_layernorm"),
        *linear_tensors("post_attention_norm", "post_attention_layernorm"),
        *linear_tensors("norm_2", "pre_mlp_layernorm"),
        *linear_tensors("post_mlp_norm", "post_mlp_layernorm"),
        *ATTENTION_WEIGHTS,
        *QK_NORM_WEIGHTS,
        *linear_tensors("attn.gate", "self_attn.gate_proj"),
        *GATED_MLP_WEIGHTS,
        layer_tensor("mlp.gate.weight", "mlp.router.gate.weight"),
        layer_tensor("mlp.gate.e_score_correction_bias", "mlp.expert_bias"),
        *EXPERT_WEIGHTS[1:],
        *SHARED_EXPERT_WEIGHTS,
    ),
)
