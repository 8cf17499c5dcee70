"""Command R: parallel attention and MLP after one LayerNorm, interleaved RoPE, scaled logits.

Command R7B and Command A (`cohere2`): three sliding-window layers to one full-attention layer without RoPE.
Command A+ (`cohere2_moe`): the same with experts.

Source: Cohere 2024, model cards of c4ai-command-r-v01 and c4ai-command-r7b-12-2024; 2025, arXiv:2504.00698;
2026, model card of command-a-plus-05-2026.
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.deepseek import SHARED_EXPERT_WEIGHTS
from litgpt.domain.families.llama import (
    ATTENTION_WEIGHTS,
    BIASED_ATTENTION,
    EMBEDDING_WEIGHTS,
    GATED_MLP_WEIGHTS,
    LLAMA,
)
from litgpt.domain.families.qwen2 import EXPERT_WEIGHTS
from litgpt.domain.families.schema.attention import SlidingWindowSchema
from litgpt.domain.families.schema.family import ResidualSchema
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema, RouterSchema
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


def _normalize_config(config: HFConfig) -> Mapping[str, object]:
    """Return the types of the layers, which have RoPE, and how the shared expert is added."""
    layers = config.integer(ConfigField("num_hidden_layers"))
    dense = config.get(ConfigField("first_k_dense_replace", 0))
    period = config.integer(ConfigField("sliding_window_pattern", 4))
    dense_period = config.integer(ConfigField("prefix_dense_sliding_window_pattern", 1))
    full = [
        (at + 1) % dense_period == 0 if at < dense else (at - dense + 1) % period == 0 for at in range(layers)
    ]
    kinds = config.get(
        ConfigField("layer_types", ["full_attention" if it else "sliding_attention" for it in full])
    )
    mlp_kinds = config.get(
        ConfigField("mlp_layer_types", ["dense" if at < dense else "sparse" for at in range(layers)])
    )
    has_window = config.get(ConfigField("sliding_window", 4096, nullable=True)) is not None
    shared = config.get(ConfigField("num_shared_experts", 0))
    combined = config.get(ConfigField("shared_expert_combination_strategy", "average"))
    if shared and combined not in ("average", "sum"):
        raise config.unsupported("shared_expert_combination_strategy", combined)
    scored = config.get(ConfigField("expert_selection_fn", "softmax"))
    return {
        "layer_types": kinds,
        "mlp_layer_types": mlp_kinds,
        "no_rope_layers": [
            (kind == "sliding_attention" and has_window) or (mlp == "dense" and dense_period == 1)
            for kind, mlp in zip(kinds, mlp_kinds, strict=False)
        ],
        "shared_expert_scale": 0.5 if shared and combined == "average" else 1.0,
        # A softmax over the selected experts equals one over all, normalized to sum to 1.
        "norm_topk_prob": scored == "softmax" or config.get(ConfigField("norm_topk_prob", default=True)),
    }


_SCALE = ConfigField("shared_expert_scale")

COHERE2_MOE = attrs.evolve(
    COHERE2,
    model_type="cohere2_moe",
    unsupported_settings=(*COHERE2.unsupported_settings, "rope_scaling"),
    normalize_config=_normalize_config,
    attention=attrs.evolve(
        BIASED_ATTENTION,
        head_dim=ConfigField("head_dim", 128),
        sliding_window=SlidingWindowSchema(size=ConfigField("sliding_window", 4096, nullable=True)),
        rope=RopeSchema(interleaved=True, nope_layers=NoPE(rotated_layers=ConfigField("no_rope_layers"))),
    ),
    mlp=MoESchema(
        num_experts=(ConfigField("num_experts", 8),),
        num_experts_per_token=ConfigField("num_experts_per_tok", 2),
        expert=GatedMLPSchema(),
        router=RouterSchema(
            scoring_func=ConfigField("expert_selection_fn", "softmax"),
            norm_topk_prob=ConfigField("norm_topk_prob", default=True),
            routed_scaling_factor=_SCALE,
        ),
        shared_expert=GatedMLPSchema(),
        num_shared_experts=ConfigField("num_shared_experts", 0),
        shared_expert_scale=_SCALE,
        dense=GatedMLPSchema(intermediate_size=ConfigField("prefix_dense_intermediate_size", None)),
        layer_types=ConfigField("mlp_layer_types"),
    ),
    norm=attrs.evolve(_NORM, rms_norm_eps=ConfigField("rms_norm_eps", None)),
    weights=(*COHERE2.weights, *EXPERT_WEIGHTS, *SHARED_EXPERT_WEIGHTS),
)
