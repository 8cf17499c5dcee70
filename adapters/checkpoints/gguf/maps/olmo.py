"""OLMo 1 and 2, OLMoE, and StableLM."""

import attrs

from litgpt.adapters.checkpoints.gguf.architecture_map import ArchitectureMap, HeaderField
from litgpt.adapters.checkpoints.gguf.maps.llama import LLAMA
from litgpt.adapters.checkpoints.gguf.maps.shared_maps import (
    ATTENTION_TENSORS,
    BIASED_TENSORS,
    EMBEDDING_TENSORS,
    EXPERT_FIELDS,
    GATED_MLP_TENSORS,
    LAYER,
    LAYER_NORM_EPS,
    MOE_TENSORS,
    QK_NORM_TENSORS,
    ROPE_THETA,
    SIZE_FIELDS,
    SOFTMAX,
    detect_biases,
    flag_field,
    hidden_size_heads,
    require_scoring,
)
from litgpt.adapters.checkpoints.gguf.tensor_layout import UnstackExperts

OLMO = attrs.evolve(
    LLAMA,
    architecture="olmo",
    model_type="olmo",
    # Norms have no weights and a fixed epsilon, which the config does not contain.
    fields=(*SIZE_FIELDS, ROPE_THETA, HeaderField("attention.clamp_kqv", "clip_qkv", is_integer=False)),
    attention=hidden_size_heads,
    extra=(detect_biases(attention_bias=BIASED_TENSORS),),
    unsupported_keys=("attention.scale", "embedding_scale", "residual_scale", "logit_scale", "expert_count"),
    variants=(),
)

_POST_NORM_TENSORS = {
    "blk.{}.post_attention_norm": f"{LAYER}.post_attention_layernorm",
    "blk.{}.post_ffw_norm": f"{LAYER}.post_feedforward_layernorm",
}

OLMO2 = attrs.evolve(
    LLAMA,
    architecture="olmo2",
    model_type="olmo2",
    attention=hidden_size_heads,
    extra=(detect_biases(attention_bias=BIASED_TENSORS),),
    unsupported_keys=(*LLAMA.unsupported_keys, "expert_count", "attention.sliding_window"),
    tensor_map={**LLAMA.tensor_map, **QK_NORM_TENSORS, **_POST_NORM_TENSORS},
    interleaved=False,
    variants=(),
)

OLMOE = attrs.evolve(
    LLAMA,
    architecture="olmoe",
    model_type="olmoe",
    fields=(*LLAMA.fields, *EXPERT_FIELDS),
    attention=hidden_size_heads,
    extra=(
        detect_biases(attention_bias=BIASED_TENSORS),
        require_scoring(SOFTMAX),
        flag_field("expert_weights_norm", "norm_topk_prob", default=False),
    ),
    tensor_map={**LLAMA.tensor_map, **QK_NORM_TENSORS, **MOE_TENSORS},
    interleaved=False,
    variants=(),
)

STABLELM = ArchitectureMap(
    architecture="stablelm",
    model_type="stablelm",
    fields=(*SIZE_FIELDS, LAYER_NORM_EPS, ROPE_THETA),
    constants={"hidden_act": "silu"},
    attention=hidden_size_heads,
    extra=(
        detect_biases(use_qkv_bias=("attn_q", "attn_k", "attn_v")),
        # Some headers are wrong about these; llama.cpp also uses the tensors.
        lambda source: {
            "use_parallel_residual": "blk.0.ffn_norm.weight" not in source.tensors,
            "qk_layernorm": "blk.0.attn_q_norm.weight" in source.tensors,
        },
    ),
    tensor_map={
        **EMBEDDING_TENSORS,
        **ATTENTION_TENSORS,
        **GATED_MLP_TENSORS,
        "blk.{}.attn_q_norm": UnstackExperts(f"{LAYER}.self_attn.q_layernorm.norms.{{}}"),
        "blk.{}.attn_k_norm": UnstackExperts(f"{LAYER}.self_attn.k_layernorm.norms.{{}}"),
    },
)
