"""Granite 3: Llama with multipliers for embeddings, attention scores, residual additions and logits.

Granite 3 MoE: the same with experts, whose weights are stacked in one tensor, and optionally a shared expert.
Granite SWA: with sliding windows and attention sinks. HyperCLOVA X SEED: with post-norms, and logits that are
multiplied.

Source: Granite Team, IBM 2024, "Granite 3.0 Language Models"; NAVER Cloud 2025, arXiv:2506.22403.
"""

import attrs

from litgpt.domain.families.llama import ATTENTION_WEIGHTS as PROJECTIONS
from litgpt.domain.families.llama import BIASED_ATTENTION, EMBEDDING_WEIGHTS, LLAMA, NORM_WEIGHTS
from litgpt.domain.families.schema.attention import SlidingWindowSchema
from litgpt.domain.families.schema.family import ResidualSchema
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema, RouterSchema
from litgpt.domain.families.schema.norm import RMSNormSchema
from litgpt.domain.families.schema.rope import RopeSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor, linear_tensors
from litgpt.domain.weights.mapping import SourceSlice

ATTENTION = attrs.evolve(BIASED_ATTENTION, scale=ConfigField("attention_multiplier", 1.0, nullable=True))

GRANITE = attrs.evolve(
    LLAMA,
    model_type="granite",
    attention=ATTENTION,
    residual=ResidualSchema(scale=ConfigField("residual_multiplier", 1.0)),
    embedding_scale=ConfigField("embedding_multiplier", 1.0),
    logit_divisor=ConfigField("logits_scaling", 1.0),
)

GRANITE_SWA = attrs.evolve(
    GRANITE,
    model_type="granite_swa",
    attention=attrs.evolve(
        ATTENTION,
        num_kv_heads=ConfigField("num_key_value_heads", 4, nullable=True),
        attention_sinks=True,
        sliding_window=SlidingWindowSchema(
            size=ConfigField("sliding_window", 128, nullable=True),
            pattern=4,
            full_first=True,
        ),
        rope=RopeSchema(layer_theta=ConfigField("layer_rope_theta", None)),
    ),
    norm=RMSNormSchema(eps=ConfigField("rms_norm_eps", 1e-5)),
    tie_word_embeddings=ConfigField("tie_word_embeddings", default=True),
    context_length=ConfigField("max_position_embeddings", 8192),
    weights=(*GRANITE.weights, layer_tensor("attn.sinks", "self_attn.sinks")),
)

HYPERCLOVAX = attrs.evolve(
    GRANITE,
    model_type="hyperclovax",
    attention=attrs.evolve(ATTENTION, scale=ConfigField("attention_multiplier", None)),
    residual=ResidualSchema(
        post_norm=ConfigField("use_post_norm", default=True), scale=ConfigField("residual_multiplier", 1.0)
    ),
    logit_divisor=None,
    logit_scale=ConfigField("logits_scaling", 1.0),
    weights=(
        *GRANITE.weights,
        *linear_tensors("post_attention_norm", "post_norm1"),
        *linear_tensors("post_mlp_norm", "post_norm2"),
    ),
)

_EXPERT_INPUT = "block_sparse_moe.input_linear.weight"

MOE = MoESchema(
    num_experts=(ConfigField("num_local_experts", 8),),
    num_experts_per_token=ConfigField("num_experts_per_tok", 2),
    expert=GatedMLPSchema(),
    router=RouterSchema(scoring_func="softmax_after_topk"),
)

GRANITEMOE = attrs.evolve(
    GRANITE,
    model_type="granitemoe",
    mlp=MOE,
    weights=(
        *EMBEDDING_WEIGHTS,
        *NORM_WEIGHTS,
        *PROJECTIONS,
        layer_tensor("mlp.gate.weight", "block_sparse_moe.router.layer.weight"),
        layer_tensor("mlp.experts.{}.fc_1.weight", SourceSlice(_EXPERT_INPUT, 0, 2), stacked_experts=True),
        layer_tensor("mlp.experts.{}.fc_2.weight", SourceSlice(_EXPERT_INPUT, 1, 2), stacked_experts=True),
        layer_tensor(
            "mlp.experts.{}.proj.weight", "block_sparse_moe.output_linear.weight", stacked_experts=True
        ),
    ),
)

_SHARED_INPUT = "shared_mlp.input_linear.weight"

GRANITEMOESHARED = attrs.evolve(
    GRANITEMOE,
    model_type="granitemoeshared",
    mlp=attrs.evolve(
        MOE,
        shared_expert=GatedMLPSchema(intermediate_size=ConfigField("shared_intermediate_size", 0)),
    ),
    weights=(
        *GRANITEMOE.weights,
        layer_tensor("mlp.shared_experts.fc_1.weight", SourceSlice(_SHARED_INPUT, 0, 2)),
        layer_tensor("mlp.shared_experts.fc_2.weight", SourceSlice(_SHARED_INPUT, 1, 2)),
        layer_tensor("mlp.shared_experts.proj.weight", "shared_mlp.output_linear.weight"),
    ),
)
