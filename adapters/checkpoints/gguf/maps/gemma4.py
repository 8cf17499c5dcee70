"""Gemma 4: sliding-window and full-attention layers have different heads; GGUF stores them per layer."""

import struct

import attrs

from litgpt.adapters.checkpoints.gguf.architecture_map import Config, HeaderField
from litgpt.adapters.checkpoints.gguf.maps.gemma import GEMMA2, SOFTCAP_FIELDS
from litgpt.adapters.checkpoints.gguf.maps.shared_maps import (
    BIASED_TENSORS,
    LAYER,
    PER_LAYER_TENSORS,
    QK_NORM_TENSORS,
    RMS_NORM_EPS,
    detect_biases,
    per_layer_embedding,
    sliding_windows,
)
from litgpt.adapters.checkpoints.gguf.model import GgufModel
from litgpt.adapters.checkpoints.gguf.rope_scaling import DEFAULT_BASE, FREQUENCY_FACTORS
from litgpt.adapters.checkpoints.gguf.tensor_layout import Concat

_EXPERTS = f"{LAYER}.experts"

# The frequency divisor of pairs that are not rotated.
_UNROTATED_FACTOR = 1e30


def _layer_types(model: GgufModel) -> list[str]:
    kinds = sliding_windows(0)(model).get("layer_types")
    if not isinstance(kinds, list) or len(kinds) != model.num_layers:
        raise model.metadata.invalid(
            model.key("attention.sliding_window_pattern"),
            "an array with a boolean per layer",
        )
    return kinds


def _value_for(model: GgufModel, key: str, layer_type: str | None = None) -> int:
    """Return a value that is equal in all layers, or in all layers of a type."""
    listed = model.per_layer_integers(key)
    values = {
        value
        for value, kind in zip(listed, _layer_types(model), strict=True)
        if layer_type is None or kind == layer_type
    }
    if len(values) != 1:
        raise model.metadata.unsupported(
            f"{model.key(key)!r} differs between layers, which is not supported."
        )
    return values.pop()


def _attention(model: GgufModel) -> Config:
    full = [f"blk.{index}." for index, kind in enumerate(_layer_types(model)) if kind == "full_attention"]
    shared = any(
        f"{layer}attn_k.weight" in model.tensors and f"{layer}attn_v.weight" not in model.tensors
        for layer in full
    )
    return {
        "num_attention_heads": model.num_heads,
        "num_key_value_heads": _value_for(model, "attention.head_count_kv", "sliding_attention"),
        "num_global_key_value_heads": _value_for(model, "attention.head_count_kv", "full_attention")
        if shared
        else None,
        "attention_k_eq_v": shared,
        "head_dim": model.integer("attention.key_length_swa"),
        "global_head_dim": model.integer("attention.key_length"),
    }


def _rope_parameters(model: GgufModel) -> Config:
    """Return the RoPE parameters of both layer types; full-attention layers rotate only some pairs."""
    stored = model.tensors.get(FREQUENCY_FACTORS)
    count = (model.integer("rope.dimension_count") or 0) // 2
    if stored is None or stored.quant_type.name != "F32" or stored.shape != (count,):
        raise model.metadata.unsupported(
            f"its tensor {FREQUENCY_FACTORS!r} does not specify the rotated pairs."
        )
    factors = struct.unpack(f"<{count}f", stored.file.read(stored.start, stored.stop))
    rotated = sum(factor == 1 for factor in factors)
    if any(factor != 1 for factor in factors[:rotated]) or any(
        factor < _UNROTATED_FACTOR * 0.99 for factor in factors[rotated:]
    ):
        raise model.metadata.unsupported(
            f"the factors in its tensor {FREQUENCY_FACTORS!r} are not a known RoPE scaling."
        )
    if model.integer("rope.dimension_count_swa") not in (None, model.integer("attention.key_length_swa")):
        raise model.metadata.unsupported(
            "its sliding-window layers rotate only a part of each head, which is not supported."
        )
    return {
        "rope_parameters": {
            "sliding_attention": {
                "rope_type": "default",
                "rope_theta": model.number("rope.freq_base_swa") or DEFAULT_BASE,
            },
            "full_attention": {
                "rope_type": "proportional",
                "partial_rotary_factor": rotated / count,
                "rope_theta": model.number("rope.freq_base") or DEFAULT_BASE,
            },
        }
    }


def _per_layer_config(model: GgufModel) -> Config:
    """Return layer types, KV sharing and MLP sizes, doubled at most in layers that share KV."""
    shared = model.integer("attention.shared_kv_layers") or 0
    sizes, first = model.per_layer_integers("feed_forward_length"), (model.num_layers or 0) - shared
    size = sizes[0]
    doubled = len(set(sizes)) > 1
    if doubled and sizes != tuple(size * (1 + (layer >= first)) for layer in range(len(sizes))):
        key = model.key("feed_forward_length")
        raise model.metadata.unsupported(f"{key!r} differs between layers, which is not supported.")
    return {
        "layer_types": _layer_types(model),
        "num_kv_shared_layers": shared,
        "intermediate_size": size,
        "use_double_wide_mlp": doubled,
    }


def _per_layer_inputs(model: GgufModel) -> Config:
    experts = model.integer("expert_count") or None
    return {
        **per_layer_embedding(model),
        "enable_moe_block": experts is not None,
        "num_experts": experts,
        "top_k_experts": model.integer("expert_used_count") or None if experts else None,
        "moe_intermediate_size": model.integer("expert_feed_forward_length") or None if experts else None,
    }


GEMMA4 = attrs.evolve(
    GEMMA2,
    architecture="gemma4",
    model_type="gemma4_text",
    fields=(
        HeaderField("block_count", "num_hidden_layers", required=True),
        HeaderField("embedding_length", "hidden_size", required=True),
        HeaderField("context_length", "max_position_embeddings", required=True),
        RMS_NORM_EPS,
        HeaderField("attention.sliding_window", "sliding_window", required=True),
        *SOFTCAP_FIELDS[1:],
    ),
    attention=_attention,
    rope_scaling=lambda _: None,
    extra=(
        _per_layer_config,
        _rope_parameters,
        _per_layer_inputs,
        detect_biases(attention_bias=BIASED_TENSORS),
    ),
    unsupported_keys=("attention.scale", "attention.clamp_kqv", "attn_logit_softcapping"),
    tensor_map={
        **GEMMA2.tensor_map,
        **QK_NORM_TENSORS,
        **PER_LAYER_TENSORS,
        "blk.{}.layer_output_scale.weight": f"{LAYER}.layer_scalar",
        "blk.{}.ffn_gate_inp.weight": f"{LAYER}.router.proj.weight",
        "blk.{}.ffn_gate_inp.scale": f"{LAYER}.router.scale",
        "blk.{}.pre_ffw_norm_2": f"{LAYER}.pre_feedforward_layernorm_2",
        "blk.{}.post_ffw_norm_1": f"{LAYER}.post_feedforward_layernorm_1",
        "blk.{}.post_ffw_norm_2": f"{LAYER}.post_feedforward_layernorm_2",
        "blk.{}.ffn_gate_up_exps.weight": f"{_EXPERTS}.gate_up_proj",
        "blk.{}.ffn_gate_exps.weight": Concat(f"{_EXPERTS}.gate_up_proj", 0, 2, stacked=True),
        "blk.{}.ffn_up_exps.weight": Concat(f"{_EXPERTS}.gate_up_proj", 1, 2, stacked=True),
        "blk.{}.ffn_down_exps.weight": f"{_EXPERTS}.down_proj",
        "blk.{}.ffn_down_exps.scale": f"{LAYER}.router.per_expert_scale",
    },
    norms_have_unit_offset=False,
)
