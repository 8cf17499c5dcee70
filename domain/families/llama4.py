"""Llama 4: chunked attention, full-attention layers without RoPE (NoPE), and MoE with a shared expert.

Source: Meta 2025, "The Llama 4 herd"; Nakanishi 2025, arXiv:2501.19399, for the attention temperature.
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.llama import (
    ATTENTION_BIAS,
    ATTENTION_WEIGHTS,
    EMBEDDING_WEIGHTS,
    LLAMA,
    NORM_WEIGHTS,
)
from litgpt.domain.families.schema.attention import AttentionSchema, SlidingWindowSchema
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema, RouterSchema
from litgpt.domain.families.schema.norm import QkNormSchema, RMSNormSchema
from litgpt.domain.families.schema.rope import NoPE, RopeSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor
from litgpt.domain.model import AttentionTemperature
from litgpt.domain.weights.mapping import SourceSlice

_NORM = RMSNormSchema(eps=ConfigField("rms_norm_eps", 1e-5))


def _normalize_config(config: HFConfig) -> Mapping[str, object]:
    """Return which layers use RoPE, chunked attention and experts, with transformers' defaults."""
    layers = range(1, config.integer(ConfigField("num_hidden_layers")) + 1)
    every = config.integer(ConfigField("no_rope_layer_interval", 4))
    step = config.integer(ConfigField("interleave_moe_layer_step", 1))
    rotated = config.get(ConfigField("no_rope_layers", None)) or [
        int(number % every != 0) for number in layers
    ]
    kinds = ["chunked_attention" if has_rope else "full_attention" for has_rope in rotated]
    moe_layers = [number - 1 for number in layers if number % step == 0]
    return {
        "no_rope_layers": rotated,
        "layer_types": config.get(ConfigField("layer_types", kinds)),
        "moe_layers": config.get(ConfigField("moe_layers", moe_layers)),
    }


def _attention_temperature(config: HFConfig) -> AttentionTemperature | None:
    if not config.get(ConfigField("attn_temperature_tuning", default=True)):
        return None
    return AttentionTemperature(
        scale=config.number(ConfigField("attn_scale", 0.1)),
        floor_scale=config.integer(ConfigField("floor_scale", 8192)),
        offset=1,
    )


_NOPE_ATTENTION = AttentionSchema(
    qkv_bias=ATTENTION_BIAS,
    output_bias=ATTENTION_BIAS,
    num_kv_heads=ConfigField("num_key_value_heads", 8),
    head_dim=ConfigField("head_dim", 128),
    sliding_window=SlidingWindowSchema(
        size=ConfigField("attention_chunk_size", 8192, nullable=True), chunked=True
    ),
    rope=None,
    attention_temperature=_attention_temperature,
)

LLAMA4_TEXT = attrs.evolve(
    LLAMA,
    model_type="llama4_text",
    normalize_config=_normalize_config,
    attention=attrs.evolve(
        _NOPE_ATTENTION,
        qk_norm=QkNormSchema(
            norm=attrs.evolve(_NORM, weight=False),
            after_rope=True,
            enabled=ConfigField("use_qk_norm", default=True),
        ),
        rope=RopeSchema(
            theta=ConfigField("rope_theta", 500_000.0),
            interleaved=True,
            nope_layers=NoPE(rotated_layers=ConfigField("no_rope_layers")),
        ),
        attention_temperature=None,
        nope_layers=_NOPE_ATTENTION,
    ),
    mlp=MoESchema(
        num_experts=(ConfigField("num_local_experts", 16),),
        num_experts_per_token=ConfigField("num_experts_per_tok", 1),
        expert=GatedMLPSchema(intermediate_size=ConfigField("intermediate_size", 8192)),
        router=RouterSchema(scoring_func="sigmoid", norm_topk_prob=False, weights_before_experts=True),
        shared_expert=GatedMLPSchema(intermediate_size=ConfigField("intermediate_size", 8192)),
        dense=GatedMLPSchema(intermediate_size=ConfigField("intermediate_size_mlp", 16_384)),
        moe_layers=ConfigField("moe_layers"),
    ),
    norm=_NORM,
    context_length=ConfigField("max_position_embeddings", 131_072),
    weights=(
        *EMBEDDING_WEIGHTS,
        *NORM_WEIGHTS,
        *ATTENTION_WEIGHTS,
        layer_tensor("mlp.fc_1.weight", "feed_forward.gate_proj.weight"),
        layer_tensor("mlp.fc_2.weight", "feed_forward.up_proj.weight"),
        layer_tensor("mlp.proj.weight", "feed_forward.down_proj.weight"),
        layer_tensor("mlp.gate.weight", "feed_forward.router.weight"),
        layer_tensor(
            "mlp.experts.{}.fc_1.weight",
            SourceSlice("feed_forward.experts.gate_up_proj", 0, 2),
            stacked_experts=True,
            transposed=True,
        ),
        layer_tensor(
            "mlp.experts.{}.fc_2.weight",
            SourceSlice("feed_forward.experts.gate_up_proj", 1, 2),
            stacked_experts=True,
            transposed=True,
        ),
        layer_tensor(
            "mlp.experts.{}.proj.weight",
            "feed_forward.experts.down_proj",
            stacked_experts=True,
            transposed=True,
        ),
        layer_tensor("mlp.shared_experts.fc_1.weight", "feed_forward.shared_expert.gate_proj.weight"),
        layer_tensor("mlp.shared_experts.fc_2.weight", "feed_forward.shared_expert.up_proj.weight"),
        layer_tensor("mlp.shared_experts.proj.weight", "feed_forward.shared_expert.down_proj.weight"),
    ),
)
