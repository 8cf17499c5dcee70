"""Gemma 4: its layers of two kinds have heads of two sizes, and GGUF lists by layer what differs."""

import struct

import attrs

from litgpt.adapters.checkpoints.gguf.architectures.gemma import CAPS, GEMMA2
from litgpt.adapters.checkpoints.gguf.architectures.words import (
    BIASED,
    LAYER,
    PER_LAYER,
    QK_NORMS,
    RMS,
    biases,
    per_layer,
    windows,
)
from litgpt.adapters.checkpoints.gguf.dialect import Config, Setting
from litgpt.adapters.checkpoints.gguf.placing import Joined
from litgpt.adapters.checkpoints.gguf.rope import DEFAULT_BASE, FREQUENCY_FACTORS
from litgpt.adapters.checkpoints.gguf.source import Source

_EXPERTS = f"{LAYER}.experts"

# What a frequency is divided by whose pair is not rotated: so much that nothing is left of it.
_NOTHING_LEFT = 1e30


def _kinds(source: Source) -> list[str]:
    """Return the kind of each layer.

    Raises:
        UnsupportedModel: A header does not list them.

    """
    kinds = windows(0)(source).get("layer_types")
    if not isinstance(kinds, list) or len(kinds) != source.layers:
        raise source.metadata.wrong(
            source.key("attention.sliding_window_pattern"),
            "a list that says of each layer if it has a window",
        )
    return kinds


def _one_of(source: Source, key: str, kind: str | None = None) -> int:
    """Return what a header says of all layers, or of all of a kind.

    Raises:
        DamagedFile: It says nothing, or not of each layer.
        UnsupportedModel: They differ.

    """
    listed = source.by_layer(key)
    found = {
        number for number, one in zip(listed, _kinds(source), strict=True) if kind is None or one == kind
    }
    if len(found) != 1:
        raise source.metadata.refuse(f"{source.key(key)!r} differs by layer, which is not implemented.")
    return found.pop()


def _attention(source: Source) -> Config:
    """Return the heads of both kinds of layer, and the base and share of their rotations."""
    full = [f"blk.{at}." for at, kind in enumerate(_kinds(source)) if kind == "full_attention"]
    shared = any(
        f"{layer}attn_k.weight" in source.tensors and f"{layer}attn_v.weight" not in source.tensors
        for layer in full
    )
    return {
        "num_attention_heads": source.heads,
        "num_key_value_heads": _one_of(source, "attention.head_count_kv", "sliding_attention"),
        "num_global_key_value_heads": _one_of(source, "attention.head_count_kv", "full_attention")
        if shared
        else None,
        "attention_k_eq_v": shared,
        "head_dim": source.integer("attention.key_length_swa"),
        "global_head_dim": source.integer("attention.key_length"),
    }


def _rotation(source: Source) -> Config:
    """Return how both kinds of layer are rotated: of the larger heads, a few pairs.

    Raises:
        UnsupportedModel: Frequencies are divided by other factors.

    """
    stored = source.tensors.get(FREQUENCY_FACTORS)
    count = (source.integer("rope.dimension_count") or 0) // 2
    if stored is None or stored.format.name != "F32" or stored.shape != (count,):
        raise source.metadata.refuse(
            f"its tensor {FREQUENCY_FACTORS!r} does not say which pairs are rotated."
        )
    factors = struct.unpack(f"<{count}f", stored.file.read(stored.start, stored.stop))
    kept = sum(one == 1 for one in factors)
    if any(one != 1 for one in factors[:kept]) or any(one < _NOTHING_LEFT * 0.99 for one in factors[kept:]):
        raise source.metadata.refuse(
            f"its tensor {FREQUENCY_FACTORS!r} stretches positions by an unknown rule."
        )
    if source.integer("rope.dimension_count_swa") not in (None, source.integer("attention.key_length_swa")):
        raise source.metadata.refuse(
            "its windowed layers rotate a part of each head, which is not implemented."
        )
    return {
        "rope_parameters": {
            "sliding_attention": {
                "rope_type": "default",
                "rope_theta": source.number("rope.freq_base_swa") or DEFAULT_BASE,
            },
            "full_attention": {
                "rope_type": "proportional",
                "partial_rotary_factor": kept / count,
                "rope_theta": source.number("rope.freq_base") or DEFAULT_BASE,
            },
        }
    }


def _layers(source: Source) -> Config:
    """Return what is particular to layers: their kinds, who borrows, and how wide they are in the middle.

    Raises:
        UnsupportedModel: Others than those that borrow are twice as wide.

    """
    borrowing = source.integer("attention.shared_kv_layers") or 0
    widths, first = source.by_layer("feed_forward_length"), (source.layers or 0) - borrowing
    usual = widths[0]
    doubled = len(set(widths)) > 1
    if doubled and widths != tuple(usual * (1 + (at >= first)) for at in range(len(widths))):
        key = source.key("feed_forward_length")
        raise source.metadata.refuse(f"{key!r} differs by layer, which is not implemented.")
    return {
        "layer_types": _kinds(source),
        "num_kv_shared_layers": borrowing,
        "intermediate_size": usual,
        "use_double_wide_mlp": doubled,
    }


def _inputs(source: Source) -> Config:
    """Return the second embedding, and the experts."""
    experts = source.integer("expert_count") or None
    return {
        **per_layer(source),
        "enable_moe_block": experts is not None,
        "num_experts": experts,
        "top_k_experts": source.integer("expert_used_count") or None if experts else None,
        "moe_intermediate_size": source.integer("expert_feed_forward_length") or None if experts else None,
    }


GEMMA4 = attrs.evolve(
    GEMMA2,
    architecture="gemma4",
    model_type="gemma4_text",
    settings=(
        Setting("block_count", "num_hidden_layers", required=True),
        Setting("embedding_length", "hidden_size", required=True),
        Setting("context_length", "max_position_embeddings", required=True),
        RMS,
        Setting("attention.sliding_window", "sliding_window", required=True),
        *CAPS[1:],
    ),
    attention=_attention,
    stretched=lambda _: None,
    more=(_layers, _rotation, _inputs, biases(attention_bias=BIASED)),
    refused=("attention.scale", "attention.clamp_kqv", "attn_logit_softcapping"),
    names={
        **GEMMA2.names,
        **QK_NORMS,
        **PER_LAYER,
        "blk.{}.layer_output_scale.weight": f"{LAYER}.layer_scalar",
        "blk.{}.ffn_gate_inp.weight": f"{LAYER}.router.proj.weight",
        "blk.{}.ffn_gate_inp.scale": f"{LAYER}.router.scale",
        "blk.{}.pre_ffw_norm_2": f"{LAYER}.pre_feedforward_layernorm_2",
        "blk.{}.post_ffw_norm_1": f"{LAYER}.post_feedforward_layernorm_1",
        "blk.{}.post_ffw_norm_2": f"{LAYER}.post_feedforward_layernorm_2",
        "blk.{}.ffn_gate_up_exps.weight": f"{_EXPERTS}.gate_up_proj",
        "blk.{}.ffn_gate_exps.weight": Joined(f"{_EXPERTS}.gate_up_proj", 0, 2, stacked=True),
        "blk.{}.ffn_up_exps.weight": Joined(f"{_EXPERTS}.gate_up_proj", 1, 2, stacked=True),
        "blk.{}.ffn_down_exps.weight": f"{_EXPERTS}.down_proj",
        "blk.{}.ffn_down_exps.scale": f"{LAYER}.router.per_expert_scale",
    },
    norms_add_one=False,
)
