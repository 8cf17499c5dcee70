"""LFM2, dense and with experts: layers without key-value heads are short convolutions."""

import attrs

from litgpt.adapters.checkpoints.gguf.architecture_map import ArchitectureMap, Config, HeaderField
from litgpt.adapters.checkpoints.gguf.gated_delta_layout import ConvChannels
from litgpt.adapters.checkpoints.gguf.maps.shared_maps import (
    EXPERT_FIELDS,
    LAYER,
    ROPE_THETA,
    SCALE_KEYS,
    SIGMOID,
    SIZE_FIELDS,
    moe_intermediate_size,
    require_scoring,
)
from litgpt.adapters.checkpoints.gguf.model import GgufModel
from litgpt.adapters.checkpoints.gguf.tensor_layout import UnstackExperts


def _attention(model: GgufModel) -> Config:
    """Return the attention heads and the type of each layer."""
    by_layer = model.per_layer_integers("attention.head_count_kv")
    groups = {*by_layer} - {0}
    if len(groups) > 1:
        raise model.metadata.unsupported("its layers have different numbers of key-value heads.")
    return {
        "num_attention_heads": model.num_heads,
        "num_key_value_heads": max(groups, default=model.num_heads),
        "layer_types": ["full_attention" if count else "conv" for count in by_layer],
    }


_EXPERT = f"{LAYER}.feed_forward.experts.{{}}"

LFM2 = ArchitectureMap(
    architecture="lfm2",
    model_type="lfm2",
    fields=(
        *SIZE_FIELDS,
        ROPE_THETA,
        HeaderField("attention.layer_norm_rms_epsilon", "norm_eps", is_integer=False, required=True),
        HeaderField("shortconv.l_cache", "conv_L_cache", required=True),
    ),
    constants={"block_auto_adjust_ff_dim": False},
    attention=_attention,
    unsupported_keys=(*SCALE_KEYS, "attention.clamp_kqv", "attention.sliding_window"),
    tensor_map={
        "token_embd": "model.embed_tokens",
        "token_embd_norm": "model.embedding_norm",
        "output": "lm_head",
        "blk.{}.attn_norm": f"{LAYER}.operator_norm",
        "blk.{}.attn_q": f"{LAYER}.self_attn.q_proj",
        "blk.{}.attn_k": f"{LAYER}.self_attn.k_proj",
        "blk.{}.attn_v": f"{LAYER}.self_attn.v_proj",
        "blk.{}.attn_output": f"{LAYER}.self_attn.out_proj",
        "blk.{}.attn_q_norm": f"{LAYER}.self_attn.q_layernorm",
        "blk.{}.attn_k_norm": f"{LAYER}.self_attn.k_layernorm",
        "blk.{}.shortconv.in_proj": f"{LAYER}.conv.in_proj",
        "blk.{}.shortconv.conv.weight": ConvChannels(f"{LAYER}.conv.conv.weight"),
        "blk.{}.shortconv.out_proj": f"{LAYER}.conv.out_proj",
        "blk.{}.ffn_norm": f"{LAYER}.ffn_norm",
        "blk.{}.ffn_gate": f"{LAYER}.feed_forward.w1",
        "blk.{}.ffn_up": f"{LAYER}.feed_forward.w3",
        "blk.{}.ffn_down": f"{LAYER}.feed_forward.w2",
    },
)

LFM2_MOE = attrs.evolve(
    LFM2,
    architecture="lfm2moe",
    model_type="lfm2_moe",
    fields=(
        *LFM2.fields,
        *EXPERT_FIELDS,
        HeaderField("leading_dense_block_count", "num_dense_layers", default=0),
    ),
    constants={},
    extra=(moe_intermediate_size, require_scoring(SIGMOID)),
    unsupported_keys=(*LFM2.unsupported_keys, "expert_shared_count"),
    tensor_map={
        **LFM2.tensor_map,
        "blk.{}.ffn_gate_inp": f"{LAYER}.feed_forward.gate",
        "blk.{}.exp_probs_b.bias": f"{LAYER}.feed_forward.expert_bias",
        "blk.{}.ffn_gate_exps": UnstackExperts(f"{_EXPERT}.w1"),
        "blk.{}.ffn_up_exps": UnstackExperts(f"{_EXPERT}.w3"),
        "blk.{}.ffn_down_exps": UnstackExperts(f"{_EXPERT}.w2"),
    },
)
