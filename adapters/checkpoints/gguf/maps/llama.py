"""Llama, and other models that GGUF names llama: Mistral, Mixtral and many others."""

from litgpt.adapters.checkpoints.gguf.architecture_map import ArchitectureMap, HeaderField
from litgpt.adapters.checkpoints.gguf.maps.shared_maps import (
    ATTENTION_TENSORS,
    BIASED_TENSORS,
    EMBEDDING_TENSORS,
    GATED_MLP_TENSORS,
    LAYER,
    RMS_NORM_EPS,
    ROPE_THETA,
    SCALE_KEYS,
    SIZE_FIELDS,
    SOFTMAX,
    detect_biases,
    has_nonzero,
    require_scoring,
)
from litgpt.adapters.checkpoints.gguf.tensor_layout import UnstackExperts

_EXPERT = f"{LAYER}.block_sparse_moe.experts.{{}}"

MIXTRAL = ArchitectureMap(
    architecture="llama",
    model_type="mixtral",
    fields=(
        *SIZE_FIELDS,
        RMS_NORM_EPS,
        ROPE_THETA,
        HeaderField("expert_count", "num_local_experts", required=True),
        HeaderField("expert_used_count", "num_experts_per_tok", required=True),
        HeaderField("attention.sliding_window", "sliding_window"),
    ),
    constants={"hidden_act": "silu"},
    extra=(require_scoring(SOFTMAX),),
    unsupported_keys=(*SCALE_KEYS, "attention.clamp_kqv", "expert_shared_count"),
    tensor_map={
        **EMBEDDING_TENSORS,
        **ATTENTION_TENSORS,
        **GATED_MLP_TENSORS,
        "blk.{}.ffn_gate_inp": f"{LAYER}.block_sparse_moe.gate",
        "blk.{}.ffn_gate_exps": UnstackExperts(f"{_EXPERT}.w1"),
        "blk.{}.ffn_down_exps": UnstackExperts(f"{_EXPERT}.w2"),
        "blk.{}.ffn_up_exps": UnstackExperts(f"{_EXPERT}.w3"),
    },
    interleaved=True,
)

LLAMA = ArchitectureMap(
    architecture="llama",
    model_type="llama",
    fields=(*SIZE_FIELDS, RMS_NORM_EPS, ROPE_THETA),
    constants={"hidden_act": "silu"},
    extra=(
        detect_biases(
            attention_bias=BIASED_TENSORS,
            mlp_bias=("ffn_gate", "ffn_up", "ffn_down"),
        ),
    ),
    unsupported_keys=(*SCALE_KEYS, "attention.clamp_kqv"),
    tensor_map={**EMBEDDING_TENSORS, **ATTENTION_TENSORS, **GATED_MLP_TENSORS},
    interleaved=True,
    variants=((has_nonzero("expert_count"), MIXTRAL),),
)
