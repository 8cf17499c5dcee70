"""Command R, and Command R7B and A, which GGUF calls cohere2."""

import attrs

from litgpt.adapters.checkpoints.gguf.architecture_map import ArchitectureMap, HeaderField, attention_config
from litgpt.adapters.checkpoints.gguf.maps.shared_maps import (
    ATTENTION_TENSORS,
    BIASED_TENSORS,
    EMBEDDING_TENSORS,
    GATED_MLP_TENSORS,
    LAYER_NORM_EPS,
    QK_NORM_TENSORS,
    ROPE_THETA,
    SIZE_FIELDS,
    detect_biases,
)

_FIELDS = (
    *SIZE_FIELDS,
    LAYER_NORM_EPS,
    ROPE_THETA,
    HeaderField("logit_scale", "logit_scale", is_integer=False, required=True),
)
_UNSUPPORTED_KEYS = (
    "attention.scale",
    "embedding_scale",
    "residual_scale",
    "attention.clamp_kqv",
    "expert_count",
)

COMMAND_R = ArchitectureMap(
    architecture="command-r",
    model_type="cohere",
    fields=_FIELDS,
    constants={"hidden_act": "silu"},
    attention=attention_config,
    extra=(
        detect_biases(attention_bias=BIASED_TENSORS),
        lambda source: {"use_qk_norm": "blk.0.attn_q_norm.weight" in source.tensors},
    ),
    unsupported_keys=_UNSUPPORTED_KEYS,
    tensor_map={**EMBEDDING_TENSORS, **ATTENTION_TENSORS, **GATED_MLP_TENSORS, **QK_NORM_TENSORS},
)

# llama.cpp uses full attention without RoPE in every fourth layer, regardless of the header.
COHERE2 = attrs.evolve(
    COMMAND_R,
    architecture="cohere2",
    model_type="cohere2",
    fields=(*_FIELDS, HeaderField("attention.sliding_window", "sliding_window", required=True)),
    constants={"hidden_act": "silu", "sliding_window_pattern": 4},
    extra=(detect_biases(attention_bias=BIASED_TENSORS),),
    tensor_map={**EMBEDDING_TENSORS, **ATTENTION_TENSORS, **GATED_MLP_TENSORS},
)
