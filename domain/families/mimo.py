"""MiMo V2: sliding windows with attention sinks and twice the key-value heads, scaled and smaller values.

Source: Xiaomi LLM-Core Team 2026, arXiv:2601.02780.
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.deepseek import SCORE_CORRECTION_WEIGHTS, deepseek_router
from litgpt.domain.families.llama import ATTENTION_BIAS, LLAMA
from litgpt.domain.families.qwen2 import EXPERT_WEIGHTS
from litgpt.domain.families.schema.attention import AttentionSchema, SlidingWindowSchema
from litgpt.domain.families.schema.hf_config import PER_LAYER_CONFIG, ConfigField, HFConfig
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema
from litgpt.domain.families.schema.norm import RMSNormSchema
from litgpt.domain.families.schema.rope import RopeSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor

_ROPE_PARAMETERS = {
    kind: {"rope_type": "default", "rope_theta": theta, "partial_rotary_factor": 0.334}
    for kind, theta in (("full_attention", 5_000_000.0), ("sliding_attention", 10_000.0))
}
_NUM_KV_HEADS = ConfigField("num_key_value_heads", 4)


def _normalize_config(config: HFConfig) -> Mapping[str, object]:
    """Return the window, and the layer types with the key-value heads and RoPE of each."""
    layers = range(config.integer(ConfigField("num_hidden_layers")))
    usual = ["full_attention" if at == 0 or (at + 1) % 6 == 0 else "sliding_attention" for at in layers]
    kinds = config.get(ConfigField("layer_types", usual))
    table = config.mapping(ConfigField(PER_LAYER_CONFIG))
    doubled = {"num_key_value_heads": 2 * config.integer(_NUM_KV_HEADS)}
    before = config.get(ConfigField("sliding_window_size", None))  # without the token itself
    scale = config.get(ConfigField("attention_value_scale", 0.707, nullable=True))
    return {
        "layer_types": kinds,
        "rope_parameters": config.get(ConfigField("rope_parameters", _ROPE_PARAMETERS)),
        "sliding_window": config.get(ConfigField("sliding_window", 129)) if before is None else before + 1,
        "attention_value_scale": 1.0 if scale is None else scale,
        PER_LAYER_CONFIG: {
            str(at): {**table.get(str(at), {}), **(doubled if kind == "sliding_attention" else {})}
            for at, kind in enumerate(kinds)
        },
    }


MIMO_V2_FLASH = attrs.evolve(
    LLAMA,
    model_type="mimo_v2_flash",
    normalize_config=_normalize_config,
    attention=AttentionSchema(
        qkv_bias=ATTENTION_BIAS,
        num_kv_heads=_NUM_KV_HEADS,
        head_dim=ConfigField("head_dim", 192),
        v_head_dim=ConfigField("v_head_dim", 128),
        value_scale=ConfigField("attention_value_scale"),
        sliding_window=SlidingWindowSchema(size=ConfigField("sliding_window")),
        rope=RopeSchema(partial_rotary_factor=ConfigField("partial_rotary_factor", 1.0)),
        attention_sinks="sliding_attention",
    ),
    mlp=MoESchema(
        num_experts=(ConfigField("n_routed_experts", 256),),
        num_experts_per_token=ConfigField("num_experts_per_tok", 8),
        expert=GatedMLPSchema(intermediate_size=ConfigField("moe_intermediate_size", 2048)),
        router=deepseek_router(routed_scaling_factor=1.0),
        layer_types=ConfigField("mlp_layer_types", None),
        first_moe_layer=1,
    ),
    norm=RMSNormSchema(eps=ConfigField("rms_norm_eps", 1e-5)),
    context_length=ConfigField("max_position_embeddings", 131_072),
    # Layers for multi-token prediction.
    unused_tensors=(*LLAMA.unused_tensors, "model.mtp.*"),
    unsupported_settings=(*LLAMA.unsupported_settings, "rope_scaling"),
    weights=(
        *LLAMA.weights,
        layer_tensor("attn.sinks", "self_attn.attention_sink_bias"),
        *EXPERT_WEIGHTS,
        *SCORE_CORRECTION_WEIGHTS,
    ),
)
