"""Flint: Qwen 3 MoE with attention sinks, sliding windows, and no RoPE in full-attention layers.

Source: Recursive Superintelligence 2026, model card of flint.
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.llama import BIASED_ATTENTION, LLAMA, QK_NORM_WEIGHTS
from litgpt.domain.families.qwen2 import EXPERT_WEIGHTS, SHARED_EXPERT_WEIGHTS
from litgpt.domain.families.schema.attention import SlidingWindowSchema
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema, RouterSchema
from litgpt.domain.families.schema.norm import QkNormSchema
from litgpt.domain.families.schema.rope import NoPE, RopeSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor


def _layer_types(config: HFConfig) -> Mapping[str, object]:
    """Return the types of the layers; by default, the first two and the last use full attention as well."""
    layers = config.integer(ConfigField("num_hidden_layers"))
    full = {0, 1, layers - 1, *range(1, layers, 4)}
    kinds = ["full_attention" if at in full else "sliding_attention" for at in range(layers)]
    return {"layer_types": config.get(ConfigField("layer_types", kinds))}


FLINT = attrs.evolve(
    LLAMA,
    model_type="flint",
    normalize_config=_layer_types,
    attention=attrs.evolve(
        BIASED_ATTENTION,
        num_kv_heads=ConfigField("num_key_value_heads", 4),
        head_dim=ConfigField("head_dim", 128),
        qk_norm=QkNormSchema(),
        sliding_window=SlidingWindowSchema(size=ConfigField("sliding_window", 513)),
        rope=RopeSchema(nope_layers=NoPE(layer_type="full_attention")),
        attention_sinks=True,
    ),
    mlp=MoESchema(
        num_experts=(ConfigField("num_experts", 256),),
        num_experts_per_token=ConfigField("num_experts_per_tok", 6),
        expert=GatedMLPSchema(intermediate_size=ConfigField("moe_intermediate_size", 512)),
        router=RouterSchema(
            scoring_func="sigmoid", norm_topk_prob=ConfigField("norm_topk_prob", default=True)
        ),
        shared_expert=GatedMLPSchema(intermediate_size=ConfigField("shared_expert_intermediate_size", 1024)),
        moe_every=ConfigField("decoder_sparse_step", 1),
        mlp_only_layers=ConfigField("mlp_only_layers", (0, 1)),
    ),
    context_length=ConfigField("max_position_embeddings", 262_144),
    weights=(
        *LLAMA.weights,
        *QK_NORM_WEIGHTS,
        layer_tensor("attn.sinks", "self_attn.softmax_offset"),
        *EXPERT_WEIGHTS,
        *SHARED_EXPERT_WEIGHTS[:3],
    ),
)
