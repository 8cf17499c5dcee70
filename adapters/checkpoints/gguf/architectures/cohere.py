"""Command R, and Command R7B and A, which GGUF calls cohere2."""

import attrs

from litgpt.adapters.checkpoints.gguf.architectures.words import (
    ATTENTION,
    BASE,
    BIASED,
    GATED,
    LAYER_NORM,
    OUTSIDE,
    QK_NORMS,
    SIZES,
    biases,
)
from litgpt.adapters.checkpoints.gguf.dialect import Dialect, Setting, softmax_attention

_SETTINGS = (*SIZES, LAYER_NORM, BASE, Setting("logit_scale", "logit_scale", whole=False, required=True))
_REFUSED = ("attention.scale", "embedding_scale", "residual_scale", "attention.clamp_kqv", "expert_count")

COMMAND_R = Dialect(
    architecture="command-r",
    model_type="cohere",
    settings=_SETTINGS,
    constants={"hidden_act": "silu"},
    attention=softmax_attention,
    more=(
        biases(attention_bias=BIASED),
        lambda source: {"use_qk_norm": "blk.0.attn_q_norm.weight" in source.tensors},
    ),
    refused=_REFUSED,
    names={**OUTSIDE, **ATTENTION, **GATED, **QK_NORMS},
)

# llama.cpp lets every fourth layer see everything, whatever a header says, and turns the others alone.
COHERE2 = attrs.evolve(
    COMMAND_R,
    architecture="cohere2",
    model_type="cohere2",
    settings=(*_SETTINGS, Setting("attention.sliding_window", "sliding_window", required=True)),
    constants={"hidden_act": "silu", "sliding_window_pattern": 4},
    more=(biases(attention_bias=BIASED),),
    names={**OUTSIDE, **ATTENTION, **GATED},
)
