"""Qwen 2 and 3, dense and with experts."""

import attrs

from litgpt.adapters.checkpoints.gguf.architectures.llama import LLAMA
from litgpt.adapters.checkpoints.gguf.architectures.words import (
    BIASED,
    EXPERTS,
    LAYER,
    QK_NORMS,
    ROUTED,
    SOFTMAX,
    biases,
    expert_size,
    flagged,
    scored,
)
from litgpt.adapters.checkpoints.gguf.dialect import Config, Dialect
from litgpt.adapters.checkpoints.gguf.placing import Row
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

_ATTENTION_BIAS = biases(attention_bias=BIASED)


def shared_size(source: Source) -> Config:
    """Return the width in the middle of what all tokens go through, which older headers do not say."""
    down = source.tensors.get("blk.0.ffn_down_shexp.weight")
    return {} if down is None else {"shared_expert_intermediate_size": down.shape[-1]}


QWEN3 = attrs.evolve(
    QWEN2,
    architecture="qwen3",
    model_type="qwen3",
    more=(_ATTENTION_BIAS,),
    names={**QWEN2.names, **QK_NORMS},
)


# llama.cpp brings the shares of the chosen experts to 1 in Qwen 3, and leaves them as they are in Qwen 2.
NORMALISED = flagged("expert_weights_norm", "norm_topk_prob", default=True)

QWEN2_MOE = attrs.evolve(
    QWEN2,
    architecture="qwen2moe",
    model_type="qwen2_moe",
    settings=(
        *QWEN2.settings,
        *EXPERTS,
    ),
    more=(
        biases(qkv_bias=("attn_q", "attn_k", "attn_v")),
        expert_size,
        scored(SOFTMAX),
        shared_size,
        flagged("expert_weights_norm", "norm_topk_prob", default=False),
    ),
    refused=LLAMA.refused,
    names={
        **QWEN2.names,
        **ROUTED,
        "blk.{}.ffn_gate_inp_shexp": Row(f"{LAYER}.mlp.shared_expert_gate"),
        "blk.{}.ffn_gate_shexp": f"{LAYER}.mlp.shared_expert.gate_proj",
        "blk.{}.ffn_up_shexp": f"{LAYER}.mlp.shared_expert.up_proj",
        "blk.{}.ffn_down_shexp": f"{LAYER}.mlp.shared_expert.down_proj",
    },
)

QWEN3_MOE = attrs.evolve(
    QWEN3,
    architecture="qwen3moe",
    model_type="qwen3_moe",
    settings=(*QWEN3.settings, *EXPERTS),
    more=(_ATTENTION_BIAS, expert_size, scored(SOFTMAX), NORMALISED),
    refused=LLAMA.refused,
    names={**QWEN3.names, **ROUTED},
)
