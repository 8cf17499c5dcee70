"""Mistral: Llama with optional sliding windows in every layer. Mixtral: the same with experts.

Ministral: with sliding windows in some layers only. Ministral 3: with an attention temperature.

Source: Jiang et al. 2023, arXiv:2310.06825; Jiang et al. 2024, arXiv:2401.04088.
"""

import attrs

from litgpt.domain.families.llama import ATTENTION_WEIGHTS, EMBEDDING_WEIGHTS, LLAMA, NORM_WEIGHTS
from litgpt.domain.families.schema.attention import AttentionSchema, SlidingWindowSchema
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema
from litgpt.domain.families.schema.norm import RMSNormSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor
from litgpt.domain.model import AttentionTemperature

_ATTENTION = AttentionSchema(
    num_kv_heads=ConfigField("num_key_value_heads", 8, nullable=True),
    sliding_window=SlidingWindowSchema(size=ConfigField("sliding_window", 4096, nullable=True)),
)

MISTRAL = attrs.evolve(
    LLAMA,
    model_type="mistral",
    attention=_ATTENTION,
    mlp=GatedMLPSchema(),
    context_length=ConfigField("max_position_embeddings", 131_072),
)

# Its config lists the layers with a window.
MINISTRAL = attrs.evolve(MISTRAL, model_type="ministral")

MIXTRAL = attrs.evolve(
    MISTRAL,
    model_type="mixtral",
    attention=attrs.evolve(
        _ATTENTION, sliding_window=SlidingWindowSchema(size=ConfigField("sliding_window", None))
    ),
    mlp=MoESchema(
        num_experts=(ConfigField("num_local_experts", 8),),
        num_experts_per_token=ConfigField("num_experts_per_tok", 2),
        expert=GatedMLPSchema(),
    ),
    norm=RMSNormSchema(eps=ConfigField("rms_norm_eps", 1e-5)),
    weights=(
        *EMBEDDING_WEIGHTS,
        *NORM_WEIGHTS,
        *ATTENTION_WEIGHTS,
        layer_tensor("mlp.gate.weight", "block_sparse_moe.gate.weight"),
        layer_tensor("mlp.experts.{}.fc_1.weight", "block_sparse_moe.experts.{}.w1.weight"),
        layer_tensor("mlp.experts.{}.fc_2.weight", "block_sparse_moe.experts.{}.w3.weight"),
        layer_tensor("mlp.experts.{}.proj.weight", "block_sparse_moe.experts.{}.w2.weight"),
    ),
)


def attention_temperature(config: HFConfig) -> AttentionTemperature | None:
    """Return the attention temperature of Ministral 3 and Mistral 4, which its RoPE settings include."""
    rope = attrs.evolve(
        config,
        values=config.mapping(ConfigField("rope_parameters")) or config.mapping(ConfigField("rope_scaling")),
    )
    beta = rope.optional(ConfigField("llama_4_scaling_beta", None))
    if beta is None:
        return None
    return AttentionTemperature(
        scale=beta, floor_scale=rope.integer(ConfigField("original_max_position_embeddings"))
    )


MINISTRAL3 = attrs.evolve(
    MISTRAL,
    model_type="ministral3",
    attention=AttentionSchema(
        num_kv_heads=ConfigField("num_key_value_heads", 8, nullable=True),
        head_dim=ConfigField("head_dim", 128, nullable=True),
        sliding_window=SlidingWindowSchema(size=ConfigField("sliding_window", None)),
        attention_temperature=attention_temperature,
    ),
    norm=RMSNormSchema(eps=ConfigField("rms_norm_eps", 1e-5)),
    context_length=ConfigField("max_position_embeddings", 262_144),
)
