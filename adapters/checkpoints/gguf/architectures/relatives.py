"""Relatives of Llama that differ from it in a name or two."""

import attrs

from litgpt.adapters.checkpoints.gguf.architectures.llama import LLAMA
from litgpt.adapters.checkpoints.gguf.architectures.olmo import OLMO2
from litgpt.adapters.checkpoints.gguf.architectures.words import (
    BASE,
    BIASED,
    LAYER,
    QK_NORMS,
    SIGMOID,
    SIZES,
    biases,
    has,
    rope,
    rotated,
    scored,
    windows,
)
from litgpt.adapters.checkpoints.gguf.dialect import Config, Setting, softmax_attention
from litgpt.adapters.checkpoints.gguf.placing import Each
from litgpt.adapters.checkpoints.gguf.source import Source

# llama.cpp rotates all layers of SmolLM3 but every fourth, whatever a header says.
SMOLLM3 = attrs.evolve(
    LLAMA,
    architecture="smollm3",
    model_type="smollm3",
    constants={**LLAMA.constants, "no_rope_layer_interval": 4, "use_sliding_window": False},
    refused=(*LLAMA.refused, "expert_count"),
    instead=(),
)

_UPRIGHT = attrs.evolve(LLAMA, refused=SMOLLM3.refused, interleaved=False, instead=())

ERNIE4_5 = attrs.evolve(
    _UPRIGHT,
    architecture="ernie4_5",
    model_type="ernie4_5",
    more=(biases(use_bias=(*BIASED, "ffn_gate", "ffn_up", "ffn_down")),),
)

SEED_OSS = attrs.evolve(
    _UPRIGHT,
    architecture="seed_oss",
    model_type="seed_oss",
    more=(biases(attention_bias=("attn_q", "attn_k", "attn_v"), attention_out_bias=("attn_output",)),),
    names={**LLAMA.names, "blk.{}.post_attention_norm": f"{LAYER}.post_attention_layernorm"},
)

# A header has the base that positions were stretched by in the end, and no scaling.
HUNYUAN_DENSE = attrs.evolve(
    _UPRIGHT,
    architecture="hunyuan-dense",
    model_type="hunyuan_v1_dense",
    more=(biases(attention_bias=BIASED),),
    names={
        **LLAMA.names,
        "blk.{}.attn_q_norm": f"{LAYER}.self_attn.query_layernorm",
        "blk.{}.attn_k_norm": f"{LAYER}.self_attn.key_layernorm",
    },
)


def _windowed(source: Source) -> Config:
    """Return the window; null where there is none."""
    window = source.integer("attention.sliding_window") or None
    if window is None:
        return {"sliding_window": None, "layer_types": ["full_attention"] * (source.layers or 0)}
    return {"sliding_window": window, **windows(4)(source)}


EXAONE4 = attrs.evolve(
    OLMO2,
    architecture="exaone4",
    model_type="exaone4",
    attention=softmax_attention,
    more=(_windowed,),
    refused=SMOLLM3.refused,
    names={**OLMO2.names, **QK_NORMS},
)

_EXPERT = f"{LAYER}.block_sparse_moe.experts.{{}}"


def _rotated(source: Source) -> Config:
    return {"rotary_dim": source.rotated, "partial_rotary_factor": source.rotated_share}


MINIMAX_M2 = attrs.evolve(
    _UPRIGHT,
    architecture="minimax-m2",
    model_type="minimax_m2",
    settings=(
        *LLAMA.settings,
        Setting("expert_count", "num_local_experts", required=True),
        Setting("expert_used_count", "num_experts_per_tok", required=True),
    ),
    more=(_rotated, scored(SIGMOID)),
    refused=(*LLAMA.refused, "expert_shared_count"),
    names={
        **LLAMA.names,
        **QK_NORMS,
        "blk.{}.ffn_gate_inp": f"{LAYER}.block_sparse_moe.gate",
        "blk.{}.exp_probs_b.bias": f"{LAYER}.block_sparse_moe.e_score_correction_bias",
        "blk.{}.ffn_gate_exps": Each(f"{_EXPERT}.w1"),
        "blk.{}.ffn_down_exps": Each(f"{_EXPERT}.w2"),
        "blk.{}.ffn_up_exps": Each(f"{_EXPERT}.w3"),
    },
)

NEMOTRON = attrs.evolve(
    _UPRIGHT,
    architecture="nemotron",
    model_type="nemotron",
    settings=(
        *SIZES,
        BASE,
        Setting("attention.layer_norm_epsilon", "norm_eps", whole=False, required=True),
    ),
    constants={"hidden_act": "relu2"},
    more=(
        biases(attention_bias=BIASED, mlp_bias=("ffn_up", "ffn_down")),
        rotated,
    ),
    norms_add_one=True,
)

_ACTIVATION = f"{LAYER}.mlp.act_fn"

APERTUS = attrs.evolve(
    _UPRIGHT,
    architecture="apertus",
    model_type="apertus",
    constants={"hidden_act": "xielu"},
    more=(biases(attention_bias=BIASED), rope()),
    names={
        **LLAMA.names,
        **QK_NORMS,
        "blk.{}.attn_norm": f"{LAYER}.attention_layernorm",
        "blk.{}.ffn_norm": f"{LAYER}.feedforward_layernorm",
    },
    said={
        "xielu.alpha_p": (f"{_ACTIVATION}.alpha_p", (1,)),
        "xielu.alpha_n": (f"{_ACTIVATION}.alpha_n", (1,)),
        "xielu.beta": (f"{_ACTIVATION}.beta", ()),
        "xielu.eps": (f"{_ACTIVATION}.eps", ()),
    },
)

OLMO2_OR_3 = attrs.evolve(
    OLMO2,
    instead=(
        (
            has("attention.sliding_window"),
            attrs.evolve(
                OLMO2,
                model_type="olmo3",
                more=(*OLMO2.more, _windowed),
                refused=SMOLLM3.refused,
            ),
        ),
    ),
)
