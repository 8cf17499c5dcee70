"""Qwen 2 and 3, dense and MoE, and the text models of Qwen 2, 2.5 and 3 VL, which are those for text."""

import attrs

from litgpt.adapters.checkpoints.gguf.architecture_map import ArchitectureMap, Config
from litgpt.adapters.checkpoints.gguf.maps.llama import LLAMA
from litgpt.adapters.checkpoints.gguf.maps.shared_maps import (
    BIASED_TENSORS,
    EXPERT_FIELDS,
    LAYER,
    MOE_TENSORS,
    QK_NORM_TENSORS,
    SOFTMAX,
    detect_biases,
    flag_field,
    moe_intermediate_size,
    require_scoring,
)
from litgpt.adapters.checkpoints.gguf.model import GgufModel
from litgpt.adapters.checkpoints.gguf.tensor_layout import Unsqueeze

QWEN2: ArchitectureMap = attrs.evolve(
    LLAMA,
    architecture="qwen2",
    model_type="qwen2",
    extra=(),
    unsupported_keys=(*LLAMA.unsupported_keys, "expert_count"),
    interleaved=False,
    variants=(),
)

QWEN2_VL = attrs.evolve(QWEN2, architecture="qwen2vl")

_ATTENTION_BIAS = detect_biases(attention_bias=BIASED_TENSORS)


def shared_expert_intermediate_size(model: GgufModel) -> Config:
    """Return the hidden size of the shared expert, which older headers lack, from a tensor."""
    down = model.tensors.get("blk.0.ffn_down_shexp.weight")
    return {} if down is None else {"shared_expert_intermediate_size": down.shape[-1]}


QWEN3 = attrs.evolve(
    QWEN2,
    architecture="qwen3",
    model_type="qwen3",
    extra=(_ATTENTION_BIAS,),
    tensor_map={**QWEN2.tensor_map, **QK_NORM_TENSORS},
)


# llama.cpp normalizes the weights of the selected experts in Qwen 3, but not in Qwen 2.
NORM_TOPK_PROB = flag_field("expert_weights_norm", "norm_topk_prob", default=True)

QWEN2_MOE = attrs.evolve(
    QWEN2,
    architecture="qwen2moe",
    model_type="qwen2_moe",
    fields=(
        *QWEN2.fields,
        *EXPERT_FIELDS,
    ),
    extra=(
        detect_biases(qkv_bias=("attn_q", "attn_k", "attn_v")),
        moe_intermediate_size,
        require_scoring(SOFTMAX),
        shared_expert_intermediate_size,
        flag_field("expert_weights_norm", "norm_topk_prob", default=False),
    ),
    unsupported_keys=LLAMA.unsupported_keys,
    tensor_map={
        **QWEN2.tensor_map,
        **MOE_TENSORS,
        "blk.{}.ffn_gate_inp_shexp": Unsqueeze(f"{LAYER}.mlp.shared_expert_gate"),
        "blk.{}.ffn_gate_shexp": f"{LAYER}.mlp.shared_expert.gate_proj",
        "blk.{}.ffn_up_shexp": f"{LAYER}.mlp.shared_expert.up_proj",
        "blk.{}.ffn_down_shexp": f"{LAYER}.mlp.shared_expert.down_proj",
    },
)

QWEN3_MOE = attrs.evolve(
    QWEN3,
    architecture="qwen3moe",
    model_type="qwen3_moe",
    fields=(*QWEN3.fields, *EXPERT_FIELDS),
    extra=(_ATTENTION_BIAS, moe_intermediate_size, require_scoring(SOFTMAX), NORM_TOPK_PROB),
    unsupported_keys=LLAMA.unsupported_keys,
    tensor_map={**QWEN3.tensor_map, **MOE_TENSORS},
)

QWEN3_VL = attrs.evolve(QWEN3, architecture="qwen3vl")
QWEN3_VL_MOE = attrs.evolve(QWEN3_MOE, architecture="qwen3vlmoe")
