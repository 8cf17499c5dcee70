"""OLMo 1 and 2, and StableLM."""

import attrs

from litgpt.adapters.checkpoints.gguf.architectures.llama import LLAMA
from litgpt.adapters.checkpoints.gguf.architectures.words import (
    ATTENTION,
    BASE,
    BIASED,
    GATED,
    LAYER,
    LAYER_NORM,
    OUTSIDE,
    QK_NORMS,
    SIZES,
    biases,
    by_width,
)
from litgpt.adapters.checkpoints.gguf.dialect import Dialect, Setting
from litgpt.adapters.checkpoints.gguf.placing import Each

OLMO = attrs.evolve(
    LLAMA,
    architecture="olmo",
    model_type="olmo",
    # Norms without weights, whose epsilon no config says: llama.cpp's converter writes what it always is.
    settings=(*SIZES, BASE, Setting("attention.clamp_kqv", "clip_qkv", whole=False)),
    attention=by_width,
    more=(biases(attention_bias=BIASED),),
    refused=("attention.scale", "embedding_scale", "residual_scale", "logit_scale", "expert_count"),
    instead=(),
)

_AFTER = {
    "blk.{}.post_attention_norm": f"{LAYER}.post_attention_layernorm",
    "blk.{}.post_ffw_norm": f"{LAYER}.post_feedforward_layernorm",
}

OLMO2 = attrs.evolve(
    LLAMA,
    architecture="olmo2",
    model_type="olmo2",
    attention=by_width,
    more=(biases(attention_bias=BIASED),),
    refused=(*LLAMA.refused, "expert_count", "attention.sliding_window"),
    names={**LLAMA.names, **QK_NORMS, **_AFTER},
    interleaved=False,
    instead=(),
)

STABLELM = Dialect(
    architecture="stablelm",
    model_type="stablelm",
    settings=(*SIZES, LAYER_NORM, BASE),
    constants={"hidden_act": "silu"},
    attention=by_width,
    more=(
        biases(use_qkv_bias=("attn_q", "attn_k", "attn_v")),
        # The header says otherwise of some; llama.cpp goes by the tensors.
        lambda source: {
            "use_parallel_residual": "blk.0.ffn_norm.weight" not in source.tensors,
            "qk_layernorm": "blk.0.attn_q_norm.weight" in source.tensors,
        },
    ),
    names={
        **OUTSIDE,
        **ATTENTION,
        **GATED,
        "blk.{}.attn_q_norm": Each(f"{LAYER}.self_attn.q_layernorm.norms.{{}}"),
        "blk.{}.attn_k_norm": Each(f"{LAYER}.self_attn.k_layernorm.norms.{{}}"),
    },
)
