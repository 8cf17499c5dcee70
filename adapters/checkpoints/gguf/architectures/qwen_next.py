"""Qwen 3 Next and Qwen 3.5, most of whose layers follow the gated delta rule.

GGUF has the heads of values by their number within a group, and then by group, where Qwen 3.5 is concerned;
Hugging Face has all of a group together. What decays is stored as minus its exponential.
"""

import attrs

from litgpt.adapters.checkpoints.gguf.architectures.qwen import NORMALISED, QWEN2_MOE, shared_size
from litgpt.adapters.checkpoints.gguf.architectures.words import (
    GATED,
    LAYER,
    QK_NORMS,
    SOFTMAX,
    biases,
    expert_size,
    rotated,
    scored,
)
from litgpt.adapters.checkpoints.gguf.delta import Channels, Columns, Qkv, Qkvz, Tiled
from litgpt.adapters.checkpoints.gguf.dialect import Config, Setting
from litgpt.adapters.checkpoints.gguf.placing import Placing
from litgpt.adapters.checkpoints.gguf.source import Source

_DELTA = f"{LAYER}.linear_attn"


def _kinds(source: Source) -> Config:
    """Return which layers see everything, and how large a head of the others' values is.

    Raises:
        DamagedFile: A size is not there.

    """
    every = source.integer("full_attention_interval") or 4
    size = (source.integer("ssm.inner_size") or 0) // max(1, source.integer("ssm.time_step_rank") or 1)
    kinds = [
        "linear_attention" if (layer + 1) % every else "full_attention" for layer in range(source.layers or 0)
    ]
    return {"layer_types": kinds, "full_attention_interval": every, "linear_value_head_dim": size}


_SETTINGS = (
    Setting("ssm.conv_kernel", "linear_conv_kernel_dim", required=True),
    Setting("ssm.state_size", "linear_key_head_dim", required=True),
    Setting("ssm.group_count", "linear_num_key_heads", required=True),
    Setting("ssm.time_step_rank", "linear_num_value_heads", required=True),
)
_BIAS = biases(attention_bias=("attn_q", "attn_k", "attn_v", "attn_output"))
_NORMS = {
    **QK_NORMS,
    "blk.{}.post_attention_norm": f"{LAYER}.post_attention_layernorm",
    "blk.{}.ssm_norm": f"{_DELTA}.norm",
}

QWEN3_NEXT = attrs.evolve(
    QWEN2_MOE,
    architecture="qwen3next",
    model_type="qwen3_next",
    settings=(*QWEN2_MOE.settings, *_SETTINGS),
    more=(_BIAS, expert_size, scored(SOFTMAX), shared_size, NORMALISED, rotated, _kinds),
    names={
        **QWEN2_MOE.names,
        **_NORMS,
        "blk.{}.attn_qkv.weight": Qkvz(f"{_DELTA}.in_proj_qkvz.weight", gates=False),
        "blk.{}.attn_gate.weight": Qkvz(f"{_DELTA}.in_proj_qkvz.weight", gates=True),
        "blk.{}.ssm_in": f"{_DELTA}.in_proj_qkvz",
        "blk.{}.ssm_ba": f"{_DELTA}.in_proj_ba",
        "blk.{}.ssm_conv1d.weight": Channels(f"{_DELTA}.conv1d.weight"),
        "blk.{}.ssm_dt.bias": f"{_DELTA}.dt_bias",
        "blk.{}.ssm_a": f"{_DELTA}.A_log",
        "blk.{}.ssm_out": f"{_DELTA}.out_proj",
    },
    norms_add_one=True,
    counts_from_0=("ssm_norm",),
    exponentials=("ssm_a",),
)

_TILED: dict[str, str | Placing] = {
    "blk.{}.attn_qkv": Qkv(f"{_DELTA}.in_proj_qkv"),
    "blk.{}.attn_gate": Tiled(f"{_DELTA}.in_proj_z"),
    "blk.{}.ssm_alpha": Tiled(f"{_DELTA}.in_proj_a"),
    "blk.{}.ssm_beta": Tiled(f"{_DELTA}.in_proj_b"),
    "blk.{}.ssm_conv1d.weight": Channels(f"{_DELTA}.conv1d.weight", tiled=True),
    "blk.{}.ssm_dt.bias": Tiled(f"{_DELTA}.dt_bias"),
    "blk.{}.ssm_a": Tiled(f"{_DELTA}.A_log"),
    "blk.{}.ssm_out": Columns(f"{_DELTA}.out_proj"),
}

QWEN35_MOE = attrs.evolve(
    QWEN3_NEXT,
    architecture="qwen35moe",
    model_type="qwen3_5_moe_text",
    more=(_BIAS, expert_size, scored(SOFTMAX), shared_size, rotated, _kinds),
    names={**QWEN2_MOE.names, **_NORMS, **_TILED},
)

QWEN35 = attrs.evolve(
    QWEN35_MOE,
    architecture="qwen35",
    model_type="qwen3_5_text",
    settings=(*QWEN2_MOE.settings[:-2], *_SETTINGS),
    more=(_BIAS, rotated, _kinds),
    refused=(*QWEN2_MOE.refused, "expert_count"),
    names={**QWEN2_MOE.names, **GATED, **_NORMS, **_TILED},
)
