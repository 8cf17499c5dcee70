"""Architectures that differ from Llama in a few settings or tensor names."""

import attrs

from litgpt.adapters.checkpoints.gguf.architecture_map import Config, HeaderField, attention_config
from litgpt.adapters.checkpoints.gguf.maps.llama import LLAMA
from litgpt.adapters.checkpoints.gguf.maps.olmo import OLMO2
from litgpt.adapters.checkpoints.gguf.maps.shared_maps import (
    BIASED_TENSORS,
    LAYER,
    QK_NORM_TENSORS,
    ROPE_THETA,
    SIGMOID,
    SIZE_FIELDS,
    detect_biases,
    has_nonzero,
    partial_rotary_factor,
    require_scoring,
    rope_scaling_or,
    sliding_windows,
)
from litgpt.adapters.checkpoints.gguf.model import GgufModel
from litgpt.adapters.checkpoints.gguf.tensor_layout import UnstackExperts

# llama.cpp omits RoPE in every fourth layer of SmolLM3, regardless of the header.
SMOLLM3 = attrs.evolve(
    LLAMA,
    architecture="smollm3",
    model_type="smollm3",
    constants={**LLAMA.constants, "no_rope_layer_interval": 4, "use_sliding_window": False},
    unsupported_keys=(*LLAMA.unsupported_keys, "expert_count"),
    variants=(),
)

_NOT_INTERLEAVED = attrs.evolve(
    LLAMA, unsupported_keys=SMOLLM3.unsupported_keys, interleaved=False, variants=()
)

ERNIE4_5 = attrs.evolve(
    _NOT_INTERLEAVED,
    architecture="ernie4_5",
    model_type="ernie4_5",
    extra=(detect_biases(use_bias=(*BIASED_TENSORS, "ffn_gate", "ffn_up", "ffn_down")),),
)

SEED_OSS = attrs.evolve(
    _NOT_INTERLEAVED,
    architecture="seed_oss",
    model_type="seed_oss",
    extra=(
        detect_biases(attention_bias=("attn_q", "attn_k", "attn_v"), attention_out_bias=("attn_output",)),
    ),
    tensor_map={**LLAMA.tensor_map, "blk.{}.post_attention_norm": f"{LAYER}.post_attention_layernorm"},
)

# The header contains the RoPE base after scaling, and no scaling.
HUNYUAN_DENSE = attrs.evolve(
    _NOT_INTERLEAVED,
    architecture="hunyuan-dense",
    model_type="hunyuan_v1_dense",
    extra=(detect_biases(attention_bias=BIASED_TENSORS),),
    tensor_map={
        **LLAMA.tensor_map,
        "blk.{}.attn_q_norm": f"{LAYER}.self_attn.query_layernorm",
        "blk.{}.attn_k_norm": f"{LAYER}.self_attn.key_layernorm",
    },
)


def _sliding_window(model: GgufModel) -> Config:
    window = model.integer("attention.sliding_window") or None
    if window is None:
        return {"sliding_window": None, "layer_types": ["full_attention"] * (model.num_layers or 0)}
    return {"sliding_window": window, **sliding_windows(4)(model)}


EXAONE4 = attrs.evolve(
    OLMO2,
    architecture="exaone4",
    model_type="exaone4",
    attention=attention_config,
    extra=(_sliding_window,),
    unsupported_keys=SMOLLM3.unsupported_keys,
    tensor_map={**OLMO2.tensor_map, **QK_NORM_TENSORS},
)

_EXPERT = f"{LAYER}.block_sparse_moe.experts.{{}}"


def _partial_rotary_factor(model: GgufModel) -> Config:
    return {"rotary_dim": model.rotary_dim, "partial_rotary_factor": model.partial_rotary_factor}


MINIMAX_M2 = attrs.evolve(
    _NOT_INTERLEAVED,
    architecture="minimax-m2",
    model_type="minimax_m2",
    fields=(
        *LLAMA.fields,
        HeaderField("expert_count", "num_local_experts", required=True),
        HeaderField("expert_used_count", "num_experts_per_tok", required=True),
    ),
    extra=(_partial_rotary_factor, require_scoring(SIGMOID)),
    unsupported_keys=(*LLAMA.unsupported_keys, "expert_shared_count"),
    tensor_map={
        **LLAMA.tensor_map,
        **QK_NORM_TENSORS,
        "blk.{}.ffn_gate_inp": f"{LAYER}.block_sparse_moe.gate",
        "blk.{}.exp_probs_b.bias": f"{LAYER}.block_sparse_moe.e_score_correction_bias",
        "blk.{}.ffn_gate_exps": UnstackExperts(f"{_EXPERT}.w1"),
        "blk.{}.ffn_down_exps": UnstackExperts(f"{_EXPERT}.w2"),
        "blk.{}.ffn_up_exps": UnstackExperts(f"{_EXPERT}.w3"),
    },
)

NEMOTRON = attrs.evolve(
    _NOT_INTERLEAVED,
    architecture="nemotron",
    model_type="nemotron",
    fields=(
        *SIZE_FIELDS,
        ROPE_THETA,
        HeaderField("attention.layer_norm_epsilon", "norm_eps", is_integer=False, required=True),
    ),
    constants={"hidden_act": "relu2"},
    extra=(
        detect_biases(attention_bias=BIASED_TENSORS, mlp_bias=("ffn_up", "ffn_down")),
        partial_rotary_factor,
    ),
    norms_have_unit_offset=True,
)

_ACTIVATION = f"{LAYER}.mlp.act_fn"

APERTUS = attrs.evolve(
    _NOT_INTERLEAVED,
    architecture="apertus",
    model_type="apertus",
    constants={"hidden_act": "xielu"},
    extra=(detect_biases(attention_bias=BIASED_TENSORS), rope_scaling_or()),
    tensor_map={
        **LLAMA.tensor_map,
        **QK_NORM_TENSORS,
        "blk.{}.attn_norm": f"{LAYER}.attention_layernorm",
        "blk.{}.ffn_norm": f"{LAYER}.feedforward_layernorm",
    },
    header_tensors={
        "xielu.alpha_p": (f"{_ACTIVATION}.alpha_p", (1,)),
        "xielu.alpha_n": (f"{_ACTIVATION}.alpha_n", (1,)),
        "xielu.beta": (f"{_ACTIVATION}.beta", ()),
        "xielu.eps": (f"{_ACTIVATION}.eps", ()),
    },
)

OLMO2_OR_3 = attrs.evolve(
    OLMO2,
    variants=(
        (
            has_nonzero("attention.sliding_window"),
            attrs.evolve(
                OLMO2,
                model_type="olmo3",
                extra=(*OLMO2.extra, _sliding_window),
                unsupported_keys=SMOLLM3.unsupported_keys,
            ),
        ),
    ),
)

ARCEE = attrs.evolve(
    LLAMA,
    architecture="arcee",
    model_type="arcee",
    constants={"hidden_act": "relu2"},
    extra=(detect_biases(attention_bias=BIASED_TENSORS, mlp_bias=("ffn_up", "ffn_down")),),
    unsupported_keys=SMOLLM3.unsupported_keys,
    variants=(),
)

_EXAONE = "transformer.h.{}"

EXAONE = attrs.evolve(
    _NOT_INTERLEAVED,
    architecture="exaone",
    model_type="exaone",
    extra=(),
    tensor_map={
        "token_embd": "transformer.wte",
        "output_norm": "transformer.ln_f",
        "output": "lm_head",
        "blk.{}.attn_norm": f"{_EXAONE}.ln_1",
        "blk.{}.attn_q": f"{_EXAONE}.attn.attention.q_proj",
        "blk.{}.attn_k": f"{_EXAONE}.attn.attention.k_proj",
        "blk.{}.attn_v": f"{_EXAONE}.attn.attention.v_proj",
        "blk.{}.attn_output": f"{_EXAONE}.attn.attention.out_proj",
        "blk.{}.ffn_norm": f"{_EXAONE}.ln_2",
        "blk.{}.ffn_gate": f"{_EXAONE}.mlp.c_fc_0",
        "blk.{}.ffn_up": f"{_EXAONE}.mlp.c_fc_1",
        "blk.{}.ffn_down": f"{_EXAONE}.mlp.c_proj",
    },
)
