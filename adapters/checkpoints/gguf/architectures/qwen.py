"""Qwen 2 and 3, dense and with experts."""

import attrs

from litgpt.adapters.checkpoints.gguf.architectures.llama import LLAMA
from litgpt.adapters.checkpoints.gguf.architectures.words import (
    EXPERTS,
    QK_NORMS,
    ROUTED,
    biases,
    expert_size,
)
from litgpt.adapters.checkpoints.gguf.dialect import Config, Dialect
from litgpt.adapters.checkpoints.gguf.source import Source

QWEN2: Dialect = attrs.evolve(
    LLAMA,
    architecture="qwen2",
    model_type="qwen2",
    more=(),
    refused=(*LLAMA.refused, "expert_count"),
    interleaved=False,
    instead=(),
)

_ATTENTION_BIAS = biases(attention_bias=("attn_q", "attn_k", "attn_v", "attn_output"))

QWEN3 = attrs.evolve(
    QWEN2,
    architecture="qwen3",
    model_type="qwen3",
    more=(_ATTENTION_BIAS,),
    names={**QWEN2.names, **QK_NORMS},
)


def _normalised(source: Source) -> Config:
    """Return whether the shares of the chosen experts are brought to 1: llama.cpp always does."""
    said = source.metadata.flag(source.key("expert_weights_norm"))
    return {"norm_topk_prob": True if said is None else said}


QWEN3_MOE = attrs.evolve(
    QWEN3,
    architecture="qwen3moe",
    model_type="qwen3_moe",
    settings=(*QWEN3.settings, *EXPERTS),
    more=(_ATTENTION_BIAS, expert_size, _normalised),
    refused=LLAMA.refused,
    names={**QWEN3.names, **ROUTED},
)
