"""Llama, and what GGUF calls by its name: Mistral, Mixtral and many others."""

from litgpt.adapters.checkpoints.gguf.architectures.words import (
    ATTENTION,
    BASE,
    BIASED,
    GATED,
    LAYER,
    OUTSIDE,
    RMS,
    SCALES,
    SIZES,
    SOFTMAX,
    biases,
    has,
    scored,
)
from litgpt.adapters.checkpoints.gguf.dialect import Dialect, Setting
from litgpt.adapters.checkpoints.gguf.placing import Each

_EXPERT = f"{LAYER}.block_sparse_moe.experts.{{}}"

MIXTRAL = Dialect(
    architecture="llama",
    model_type="mixtral",
    settings=(
        *SIZES,
        RMS,
        BASE,
        Setting("expert_count", "num_local_experts", required=True),
        Setting("expert_used_count", "num_experts_per_tok", required=True),
        Setting("attention.sliding_window", "sliding_window"),
    ),
    constants={"hidden_act": "silu"},
    more=(scored(SOFTMAX),),
    refused=(*SCALES, "attention.clamp_kqv", "expert_shared_count"),
    names={
        **OUTSIDE,
        **ATTENTION,
        **GATED,
        "blk.{}.ffn_gate_inp": f"{LAYER}.block_sparse_moe.gate",
        "blk.{}.ffn_gate_exps": Each(f"{_EXPERT}.w1"),
        "blk.{}.ffn_down_exps": Each(f"{_EXPERT}.w2"),
        "blk.{}.ffn_up_exps": Each(f"{_EXPERT}.w3"),
    },
    interleaved=True,
)

LLAMA = Dialect(
    architecture="llama",
    model_type="llama",
    settings=(*SIZES, RMS, BASE),
    constants={"hidden_act": "silu"},
    more=(
        biases(
            attention_bias=BIASED,
            mlp_bias=("ffn_gate", "ffn_up", "ffn_down"),
        ),
    ),
    refused=(*SCALES, "attention.clamp_kqv"),
    names={**OUTSIDE, **ATTENTION, **GATED},
    interleaved=True,
    instead=((has("expert_count"), MIXTRAL),),
)
