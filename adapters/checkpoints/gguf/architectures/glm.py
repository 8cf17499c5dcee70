"""GLM 4, and GLM 4.5 and later with experts."""

import attrs

from litgpt.adapters.checkpoints.gguf.architectures.deepseek import SHARED
from litgpt.adapters.checkpoints.gguf.architectures.llama import LLAMA
from litgpt.adapters.checkpoints.gguf.architectures.words import (
    LAYER,
    QK_NORMS,
    ROUTED,
    SIGMOID,
    biases,
    expert_size,
    flagged,
    rotated,
    scored,
)
from litgpt.adapters.checkpoints.gguf.dialect import Config, Setting
from litgpt.adapters.checkpoints.gguf.source import Source

_QKV_BIAS = biases(attention_bias=("attn_q", "attn_k", "attn_v"))


GLM4 = attrs.evolve(
    LLAMA,
    architecture="glm4",
    model_type="glm4",
    more=(_QKV_BIAS, rotated),
    # The last comes of models that see, whose queries and keys lie in another order.
    refused=(*LLAMA.refused, "expert_count", "rope.dimension_sections"),
    names={
        **LLAMA.names,
        "blk.{}.ffn_up": f"{LAYER}.mlp.gate_up_proj",
        "blk.{}.post_attention_norm": f"{LAYER}.post_self_attn_layernorm",
        "blk.{}.post_ffw_norm": f"{LAYER}.post_mlp_layernorm",
    },
    interleaved=False,
    instead=(),
)


def _routing(source: Source) -> Config:
    """Return how experts are chosen."""
    return {
        "use_qk_norm": "blk.0.attn_q_norm.weight" in source.tensors,
        "routed_scaling_factor": source.number("expert_weights_scale") or 1.0,
        "n_group": source.integer("expert_group_count") or 1,
        "topk_group": source.integer("expert_group_used_count") or 1,
    }


GLM4_MOE = attrs.evolve(
    GLM4,
    architecture="glm4moe",
    model_type="glm4_moe",
    settings=(
        *GLM4.settings,
        Setting("expert_count", "n_routed_experts", required=True),
        Setting("expert_used_count", "num_experts_per_tok", required=True),
        Setting("expert_shared_count", "n_shared_experts", default=0),
        Setting("leading_dense_block_count", "first_k_dense_replace", default=0),
    ),
    more=(
        _QKV_BIAS,
        rotated,
        expert_size,
        scored(SIGMOID, weighed=True),
        _routing,
        flagged("expert_weights_norm", "norm_topk_prob", default=False),
    ),
    refused=LLAMA.refused,
    names={
        **LLAMA.names,
        **QK_NORMS,
        **ROUTED,
        **SHARED,
        "blk.{}.post_attention_norm": f"{LAYER}.post_attention_layernorm",
    },
)
