"""gpt-oss: GGUF separates gate and up projections of experts, which Hugging Face interleaves."""

import attrs

from litgpt.adapters.checkpoints.gguf.architecture_map import HeaderField
from litgpt.adapters.checkpoints.gguf.maps.llama import LLAMA
from litgpt.adapters.checkpoints.gguf.maps.shared_maps import (
    BIASED_TENSORS,
    LAYER,
    SOFTMAX_OF_TOP_K,
    detect_biases,
    require_scoring,
    rope_scaling_or,
)
from litgpt.adapters.checkpoints.gguf.tensor_layout import Concat, Transpose

_EXPERTS = f"{LAYER}.mlp.experts"
_GATES, _REST = (
    Concat(f"{_EXPERTS}.gate_up_proj", number, 2, interleaved=True, transposed=True, stacked=True)
    for number in (0, 1)
)
_GATE_BIASES, _OTHER_BIASES = (
    Concat(f"{_EXPERTS}.gate_up_proj_bias", number, 2, interleaved=True, stacked=True) for number in (0, 1)
)

GPT_OSS = attrs.evolve(
    LLAMA,
    architecture="gpt-oss",
    model_type="gpt_oss",
    fields=(
        *LLAMA.fields,
        HeaderField("expert_count", "num_local_experts", required=True),
        HeaderField("expert_used_count", "num_experts_per_tok", required=True),
        HeaderField("attention.sliding_window", "sliding_window", required=True),
    ),
    # Headers contain neither these nor YaRN's `truncate`; they are the same in both published models.
    constants={"hidden_act": "silu", "swiglu_limit": 7.0, "swiglu_alpha": 1.702},
    extra=(
        detect_biases(attention_bias=BIASED_TENSORS),
        rope_scaling_or(truncate=False),
        require_scoring(SOFTMAX_OF_TOP_K),
    ),
    tensor_map={
        **LLAMA.tensor_map,
        "blk.{}.post_attention_norm": f"{LAYER}.post_attention_layernorm",
        "blk.{}.attn_sinks.weight": f"{LAYER}.self_attn.sinks",
        "blk.{}.ffn_gate_inp": f"{LAYER}.mlp.router",
        "blk.{}.ffn_gate_exps.weight": _GATES,
        "blk.{}.ffn_up_exps.weight": _REST,
        "blk.{}.ffn_down_exps.weight": Transpose(f"{_EXPERTS}.down_proj"),
        "blk.{}.ffn_gate_exps.bias": _GATE_BIASES,
        "blk.{}.ffn_up_exps.bias": _OTHER_BIASES,
        "blk.{}.ffn_down_exps.bias": f"{_EXPERTS}.down_proj_bias",
    },
    interleaved=False,
    variants=(),
)
