"""GLM 4, and GLM 4.5 and later with experts."""

import attrs

from litgpt.adapters.checkpoints.gguf.architecture_map import Config, HeaderField
from litgpt.adapters.checkpoints.gguf.maps.deepseek import SHARED_EXPERT_TENSORS
from litgpt.adapters.checkpoints.gguf.maps.llama import LLAMA
from litgpt.adapters.checkpoints.gguf.maps.shared_maps import (
    LAYER,
    MOE_TENSORS,
    QK_NORM_TENSORS,
    SIGMOID,
    detect_biases,
    flag_field,
    moe_intermediate_size,
    partial_rotary_factor,
    require_scoring,
)
from litgpt.adapters.checkpoints.gguf.model import GgufModel

_QKV_BIAS = detect_biases(attention_bias=("attn_q", "attn_k", "attn_v"))


GLM4 = attrs.evolve(
    LLAMA,
    architecture="glm4",
    model_type="glm4",
    extra=(_QKV_BIAS, partial_rotary_factor),
    # rope.dimension_sections is set by vision models, whose queries and keys are in another order.
    unsupported_keys=(*LLAMA.unsupported_keys, "expert_count", "rope.dimension_sections"),
    tensor_map={
        **LLAMA.tensor_map,
        "blk.{}.ffn_up": f"{LAYER}.mlp.gate_up_proj",
        "blk.{}.post_attention_norm": f"{LAYER}.post_self_attn_layernorm",
        "blk.{}.post_ffw_norm": f"{LAYER}.post_mlp_layernorm",
    },
    interleaved=False,
    variants=(),
)


def _routing(model: GgufModel) -> Config:
    return {
        "use_qk_norm": "blk.0.attn_q_norm.weight" in model.tensors,
        "routed_scaling_factor": model.number("expert_weights_scale") or 1.0,
        "n_group": model.integer("expert_group_count") or 1,
        "topk_group": model.integer("expert_group_used_count") or 1,
    }


GLM4_MOE = attrs.evolve(
    GLM4,
    architecture="glm4moe",
    model_type="glm4_moe",
    fields=(
        *GLM4.fields,
        HeaderField("expert_count", "n_routed_experts", required=True),
        HeaderField("expert_used_count", "num_experts_per_tok", required=True),
        HeaderField("expert_shared_count", "n_shared_experts", default=0),
        HeaderField("leading_dense_block_count", "first_k_dense_replace", default=0),
    ),
    extra=(
        _QKV_BIAS,
        partial_rotary_factor,
        moe_intermediate_size,
        require_scoring(SIGMOID, weighed=True),
        _routing,
        flag_field("expert_weights_norm", "norm_topk_prob", default=False),
    ),
    unsupported_keys=LLAMA.unsupported_keys,
    tensor_map={
        **LLAMA.tensor_map,
        **QK_NORM_TENSORS,
        **MOE_TENSORS,
        **SHARED_EXPERT_TENSORS,
        "blk.{}.post_attention_norm": f"{LAYER}.post_attention_layernorm",
    },
)
