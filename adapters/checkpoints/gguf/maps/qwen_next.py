"""Qwen3-Next and Qwen3.5, most of whose layers are gated delta nets.

For Qwen3.5, GGUF orders value heads by their index within a group, Hugging Face by group. `A_log` is stored
as -exp(A_log).
"""

import attrs

from litgpt.adapters.checkpoints.gguf.architecture_map import Config, HeaderField
from litgpt.adapters.checkpoints.gguf.gated_delta_layout import (
    ConvChannels,
    InterleaveQKVZ,
    QKVRows,
    TiledColumns,
    TiledRows,
)
from litgpt.adapters.checkpoints.gguf.maps.qwen import (
    NORM_TOPK_PROB,
    QWEN2_MOE,
    shared_expert_intermediate_size,
)
from litgpt.adapters.checkpoints.gguf.maps.shared_maps import (
    GATED_MLP_TENSORS,
    LAYER,
    QK_NORM_TENSORS,
    SOFTMAX,
    detect_biases,
    moe_intermediate_size,
    partial_rotary_factor,
    require_scoring,
)
from litgpt.adapters.checkpoints.gguf.model import GgufModel
from litgpt.adapters.checkpoints.gguf.tensor_layout import TensorLayout

_DELTA = f"{LAYER}.linear_attn"


def _layer_types(model: GgufModel) -> Config:
    """Return `layer_types` and the size of the value heads of gated delta nets."""
    every = model.integer("full_attention_interval") or 4
    size = (model.integer("ssm.inner_size") or 0) // max(1, model.integer("ssm.time_step_rank") or 1)
    kinds = [
        "linear_attention" if (layer + 1) % every else "full_attention"
        for layer in range(model.num_layers or 0)
    ]
    return {"layer_types": kinds, "full_attention_interval": every, "linear_value_head_dim": size}


_FIELDS = (
    HeaderField("ssm.conv_kernel", "linear_conv_kernel_dim", required=True),
    HeaderField("ssm.state_size", "linear_key_head_dim", required=True),
    HeaderField("ssm.group_count", "linear_num_key_heads", required=True),
    HeaderField("ssm.time_step_rank", "linear_num_value_heads", required=True),
)
_BIAS = detect_biases(attention_bias=("attn_q", "attn_k", "attn_v", "attn_output"))
_NORMS = {
    **QK_NORM_TENSORS,
    "blk.{}.post_attention_norm": f"{LAYER}.post_attention_layernorm",
    "blk.{}.ssm_norm": f"{_DELTA}.norm",
}

QWEN3_NEXT = attrs.evolve(
    QWEN2_MOE,
    architecture="qwen3next",
    model_type="qwen3_next",
    fields=(*QWEN2_MOE.fields, *_FIELDS),
    extra=(
        _BIAS,
        moe_intermediate_size,
        require_scoring(SOFTMAX),
        shared_expert_intermediate_size,
        NORM_TOPK_PROB,
        partial_rotary_factor,
        _layer_types,
    ),
    tensor_map={
        **QWEN2_MOE.tensor_map,
        **_NORMS,
        "blk.{}.attn_qkv.weight": InterleaveQKVZ(f"{_DELTA}.in_proj_qkvz.weight", gates=False),
        "blk.{}.attn_gate.weight": InterleaveQKVZ(f"{_DELTA}.in_proj_qkvz.weight", gates=True),
        "blk.{}.ssm_in": f"{_DELTA}.in_proj_qkvz",
        "blk.{}.ssm_ba": f"{_DELTA}.in_proj_ba",
        "blk.{}.ssm_conv1d.weight": ConvChannels(f"{_DELTA}.conv1d.weight"),
        "blk.{}.ssm_dt.bias": f"{_DELTA}.dt_bias",
        "blk.{}.ssm_a": f"{_DELTA}.A_log",
        "blk.{}.ssm_out": f"{_DELTA}.out_proj",
    },
    norms_have_unit_offset=True,
    unit_offset_exceptions=("ssm_norm",),
    exponentiated=("ssm_a",),
)

_TILED: dict[str, str | TensorLayout] = {
    "blk.{}.attn_qkv": QKVRows(f"{_DELTA}.in_proj_qkv"),
    "blk.{}.attn_gate": TiledRows(f"{_DELTA}.in_proj_z"),
    "blk.{}.ssm_alpha": TiledRows(f"{_DELTA}.in_proj_a"),
    "blk.{}.ssm_beta": TiledRows(f"{_DELTA}.in_proj_b"),
    "blk.{}.ssm_conv1d.weight": ConvChannels(f"{_DELTA}.conv1d.weight", tiled=True),
    "blk.{}.ssm_dt.bias": TiledRows(f"{_DELTA}.dt_bias"),
    "blk.{}.ssm_a": TiledRows(f"{_DELTA}.A_log"),
    "blk.{}.ssm_out": TiledColumns(f"{_DELTA}.out_proj"),
}

QWEN35_MOE = attrs.evolve(
    QWEN3_NEXT,
    architecture="qwen35moe",
    model_type="qwen3_5_moe_text",
    extra=(
        _BIAS,
        moe_intermediate_size,
        require_scoring(SOFTMAX),
        shared_expert_intermediate_size,
        partial_rotary_factor,
        _layer_types,
    ),
    tensor_map={**QWEN2_MOE.tensor_map, **_NORMS, **_TILED},
)

QWEN35 = attrs.evolve(
    QWEN35_MOE,
    architecture="qwen35",
    model_type="qwen3_5_text",
    fields=(*QWEN2_MOE.fields[:-2], *_FIELDS),
    extra=(_BIAS, partial_rotary_factor, _layer_types),
    unsupported_keys=(*QWEN2_MOE.unsupported_keys, "expert_count"),
    tensor_map={**QWEN2_MOE.tensor_map, **GATED_MLP_TENSORS, **_NORMS, **_TILED},
)
