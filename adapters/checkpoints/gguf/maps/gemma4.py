"""Gemma 4: its layers of two kinds have heads of two sizes, and GGUF lists by layer what differs."""

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

# What a frequency is divided by whose pair is not rotated: so much that nothing is left of it.
_UNROTATED_FACTOR = 1e30


def _layer_types(model: GgufModel) -> list[str]:
    """Return the kind of each layer.

    Raises:
        UnsupportedModel: A header does not list them.

    """
    kinds = sliding_windows(0)(model).get("layer_types")
    if not isinstance(kinds, list) or len(kinds) != model.num_layers:
        raise model.metadata.invalid(
            model.key("attention.sliding_window_pattern"),
            "a list that says of each layer if it has a window",
        )
    return kinds


def _value_for(model: GgufModel, key: str, layer_type: str | None = None) -> int:
    """Return what a header says of all layers, or of all of a kind.

    Raises:
        CorruptFile: It says nothing, or not of each layer.
        UnsupportedModel: They differ.

    """
    listed = model.per_layer_integers(key)
    found = {
        number
        for number, one in zip(listed, _layer_types(model), strict=True)
        if layer_type is None or one == layer_type
    }
    if len(found) != 1:
        raise model.metadata.unsupported(f"{model.key(key)!r} differs by layer, which is not implemented.")
    return found.pop()


def _attention(model: GgufModel) -> Config:
    """Return the heads of both kinds of layer, and the base and share of their rotations."""
    full = [f"blk.{at}." for at, kind in enumerate(_layer_types(model)) if kind == "full_attention"]
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
    """Return how both kinds of layer are rotated: of the larger heads, a few pairs.

    Raises:
        UnsupportedModel: Frequencies are divided by other factors.

    """
    stored = model.tensors.get(FREQUENCY_FACTORS)
    count = (model.integer("rope.dimension_count") or 0) // 2
    if stored is None or stored.quant_type.name != "F32" or stored.shape != (count,):
        raise model.metadata.unsupported(
            f"its tensor {FREQUENCY_FACTORS!r} does not say which pairs are rotated."
        )
    factors = struct.unpack(f"<{count}f", stored.file.read(stored.start, stored.stop))
    kept = sum(one == 1 for one in factors)
    if any(one != 1 for one in factors[:kept]) or any(
        one < _UNROTATED_FACTOR * 0.99 for one in factors[kept:]
    ):
        raise model.metadata.unsupported(
            f"its tensor {FREQUENCY_FACTORS!r} stretches positions by an unknown rule."
        )
    if model.integer("rope.dimension_count_swa") not in (None, model.integer("attention.key_length_swa")):
        raise model.metadata.unsupported(
            "its windowed layers rotate a part of each head, which is not implemented."
        )
    return {
        "rope_parameters": {
            "sliding_attention": {
                "rope_type": "default",
                "rope_theta": model.number("rope.freq_base_swa") or DEFAULT_BASE,
            },
            "full_attention": {
                "rope_type": "proportional",
                "partial_rotary_factor": kept / count,
                "rope_theta": model.number("rope.freq_base") or DEFAULT_BASE,
            },
        }
    }


def _per_layer_config(model: GgufModel) -> Config:
    """Return what is particular to layers: their kinds, who borrows, and how wide they are in the middle.

    Raises:
        UnsupportedModel: Others than those that borrow are twice as wide.

    """
    borrowing = model.integer("attention.shared_kv_layers") or 0
    widths, first = model.per_layer_integers("feed_forward_length"), (model.num_layers or 0) - borrowing
    usual = widths[0]
    doubled = len(set(widths)) > 1
    if doubled and widths != tuple(usual * (1 + (at >= first)) for at in range(len(widths))):
        key = model.key("feed_forward_length")
        raise model.metadata.unsupported(f"{key!r} differs by layer, which is not implemented.")
    return {
        "layer_types": _layer_types(model),
        "num_kv_shared_layers": borrowing,
        "intermediate_size": usual,
        "use_double_wide_mlp": doubled,
    }


def _per_layer_inputs(model: GgufModel) -> Config:
    """Return the second embedding, and the experts."""
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
