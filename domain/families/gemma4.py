"""Gemma 4, text: larger heads in full-attention layers, K=V, KV sharing, per-layer embeddings, parallel MoE.

Gemma 4 12B (`gemma4_unified_text`) has neither per-layer embeddings nor experts.

Source: Google DeepMind 2026, "Gemma 4".
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.gemma import GEMMA3_TEXT
from litgpt.domain.families.llama import ATTENTION_BIAS, LLAMA, UNUSED_KV
from litgpt.domain.families.schema.attention import AttentionSchema, SlidingWindowSchema
from litgpt.domain.families.schema.hf_config import PER_LAYER_CONFIG, ConfigField, HFConfig
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import DenseAndMoESchema, MoESchema, RouterSchema
from litgpt.domain.families.schema.norm import QkNormSchema, RMSNormSchema
from litgpt.domain.families.schema.per_layer_embedding import PER_LAYER_WEIGHTS, PerLayerSchema
from litgpt.domain.families.schema.rope import RopeSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor, linear_tensors
from litgpt.domain.weights.mapping import SourceSlice

_DEFAULT_ROPE_PARAMETERS = {
    "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
    "full_attention": {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1_000_000.0},
}


def _normalize_config(config: HFConfig) -> Mapping[str, object]:
    """Return the per-layer settings, which the config gives by layer type."""
    if config.get(ConfigField("use_bidirectional_attention", None)) == "all":
        raise config.unsupported("use_bidirectional_attention", "all")
    layers = config.integer(ConfigField("num_hidden_layers"))
    default = ["sliding_attention" if number % 6 else "full_attention" for number in range(1, layers + 1)]
    kinds = list(config.get(ConfigField("layer_types", default)))
    kinds[-1:] = ["full_attention"]  # as transformers does, overriding the config
    return {
        "rope_parameters": config.get(ConfigField("rope_parameters", _DEFAULT_ROPE_PARAMETERS)),
        "layer_types": kinds,
        PER_LAYER_CONFIG: _per_layer_settings(config, kinds),
    }


def _per_layer_settings(config: HFConfig, layer_types: list[str]) -> Mapping[str, object]:
    full: dict[str, object] = {"head_dim": config.get(ConfigField("global_head_dim", 512))}
    groups = config.get(ConfigField("num_global_key_value_heads", None))
    if groups is not None and config.get(ConfigField("attention_k_eq_v", default=False)):
        full["num_key_value_heads"] = groups
    # transformers 5 also writes an empty table; then the head dimension is the same in all layers.
    table = config.mapping(ConfigField(PER_LAYER_CONFIG)) if PER_LAYER_CONFIG in config.values else None
    if table is None:
        table = {str(at): full for at, kind in enumerate(layer_types) if kind == "full_attention"}
    if not config.get(ConfigField("use_double_wide_mlp", default=False)):
        return table
    first_borrower = max(0, len(layer_types) - int(config.get(ConfigField("num_kv_shared_layers", 0))))
    return {
        **table,
        **{
            str(at): _with_double_wide_mlp(config, table, at)
            for at in range(first_borrower, len(layer_types))
        },
    }


def _with_double_wide_mlp(
    config: HFConfig, table: Mapping[str, Mapping[str, object]], layer: int
) -> dict[str, object]:
    """Return the settings of a layer with a doubled intermediate size."""
    overrides = table.get(str(layer), {})
    merged = attrs.evolve(config, values={**config.values, **overrides})
    return {**overrides, "intermediate_size": 2 * merged.integer(ConfigField("intermediate_size", 9216))}


_NORM = RMSNormSchema()

_ATTENTION = AttentionSchema(
    qkv_bias=ATTENTION_BIAS,
    output_bias=ATTENTION_BIAS,
    num_kv_heads=ConfigField("num_key_value_heads", 4),
    head_dim=ConfigField("head_dim", 256),
    scale=1.0,
    qk_norm=QkNormSchema(norm=_NORM),
    value_norm=attrs.evolve(_NORM, weight=False),
    sliding_window=SlidingWindowSchema(size=ConfigField("sliding_window", 512)),
    rope=RopeSchema(),
    shared_kv_projection=ConfigField("attention_k_eq_v", default=False),
    num_kv_shared_layers=ConfigField("num_kv_shared_layers", None),
)

GEMMA4_TEXT = attrs.evolve(
    GEMMA3_TEXT,
    model_type="gemma4_text",
    normalize_config=_normalize_config,
    attention=_ATTENTION,
    mlp=DenseAndMoESchema(
        dense=GatedMLPSchema(activation=ConfigField("hidden_act", "gelu_pytorch_tanh")),
        moe=MoESchema(
            num_experts=(ConfigField("num_experts"),),
            num_experts_per_token=ConfigField("top_k_experts"),
            expert=GatedMLPSchema(
                activation=ConfigField("hidden_act", "gelu_pytorch_tanh"),
                intermediate_size=ConfigField("moe_intermediate_size"),
            ),
            router=RouterSchema(norm=_NORM, scale_logits_by_hidden_size=True, expert_scale=True),
        ),
        enabled=ConfigField("enable_moe_block", default=False),
    ),
    norm=_NORM,
    per_layer_inputs=PerLayerSchema(),
    layer_scale=True,
    unsupported_settings=LLAMA.unsupported_settings,
    # Files also contain the unused key and value projections of KV-sharing layers.
    unused_tensors=(*LLAMA.unused_tensors, *UNUSED_KV),
    weights=(
        *GEMMA3_TEXT.weights,
        layer_tensor("scale", "layer_scalar"),
        *PER_LAYER_WEIGHTS,
        *linear_tensors("mlp.dense.fc_1", "mlp.gate_proj"),
        *linear_tensors("mlp.dense.fc_2", "mlp.up_proj"),
        *linear_tensors("mlp.dense.proj", "mlp.down_proj"),
        layer_tensor("mlp.norm_dense.weight", "pre_feedforward_layernorm.weight"),
        layer_tensor("mlp.post_norm_dense.weight", "post_feedforward_layernorm_1.weight"),
        layer_tensor("mlp.norm_sparse.weight", "pre_feedforward_layernorm_2.weight"),
        layer_tensor("mlp.post_norm_sparse.weight", "post_feedforward_layernorm_2.weight"),
        layer_tensor("mlp.sparse.gate.weight", "router.proj.weight"),
        layer_tensor("mlp.sparse.gate.norm.weight", "router.scale"),
        layer_tensor("mlp.sparse.gate.expert_scale", "router.per_expert_scale"),
        layer_tensor(
            "mlp.sparse.experts.{}.fc_1.weight",
            SourceSlice("experts.gate_up_proj", 0, 2),
            stacked_experts=True,
        ),
        layer_tensor(
            "mlp.sparse.experts.{}.fc_2.weight",
            SourceSlice("experts.gate_up_proj", 1, 2),
            stacked_experts=True,
        ),
        layer_tensor("mlp.sparse.experts.{}.proj.weight", "experts.down_proj", stacked_experts=True),
    ),
)

GEMMA4_UNIFIED_TEXT = attrs.evolve(
    GEMMA4_TEXT,
    model_type="gemma4_unified_text",
    unsupported_settings=(*GEMMA4_TEXT.unsupported_settings, "rope_scaling"),
    attention=attrs.evolve(
        _ATTENTION, sliding_window=SlidingWindowSchema(size=ConfigField("sliding_window", 1024))
    ),
    mlp=GatedMLPSchema(activation=ConfigField("hidden_act", "gelu_pytorch_tanh")),
    per_layer_inputs=None,
    context_length=ConfigField("max_position_embeddings", 262_144),
)
