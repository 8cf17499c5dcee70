"""gpt-oss: GGUF puts apart the gates of its experts, which take turns with the rest in Hugging Face's."""

import attrs

from litgpt.adapters.checkpoints.gguf.architectures.llama import LLAMA
from litgpt.adapters.checkpoints.gguf.architectures.words import (
    BIASED,
    LAYER,
    SOFTMAX_OF_CHOSEN,
    biases,
    rope,
    scored,
)
from litgpt.adapters.checkpoints.gguf.dialect import Setting
from litgpt.adapters.checkpoints.gguf.placing import Joined, Turned

_EXPERTS = f"{LAYER}.mlp.experts"
_GATES, _REST = (
    Joined(f"{_EXPERTS}.gate_up_proj", number, 2, alternating=True, turned=True, stacked=True)
    for number in (0, 1)
)
_GATE_BIASES, _OTHER_BIASES = (
    Joined(f"{_EXPERTS}.gate_up_proj_bias", number, 2, alternating=True, stacked=True) for number in (0, 1)
)

GPT_OSS = attrs.evolve(
    LLAMA,
    architecture="gpt-oss",
    model_type="gpt_oss",
    settings=(
        *LLAMA.settings,
        Setting("expert_count", "num_local_experts", required=True),
        Setting("expert_used_count", "num_experts_per_tok", required=True),
        Setting("attention.sliding_window", "sliding_window", required=True),
    ),
    # No header says these, nor whether YaRN's borders are whole numbers: there is one model of two sizes.
    constants={"hidden_act": "silu", "swiglu_limit": 7.0, "swiglu_alpha": 1.702},
    more=(biases(attention_bias=BIASED), rope(truncate=False), scored(SOFTMAX_OF_CHOSEN)),
    names={
        **LLAMA.names,
        "blk.{}.post_attention_norm": f"{LAYER}.post_attention_layernorm",
        "blk.{}.attn_sinks.weight": f"{LAYER}.self_attn.sinks",
        "blk.{}.ffn_gate_inp": f"{LAYER}.mlp.router",
        "blk.{}.ffn_gate_exps.weight": _GATES,
        "blk.{}.ffn_up_exps.weight": _REST,
        "blk.{}.ffn_down_exps.weight": Turned(f"{_EXPERTS}.down_proj"),
        "blk.{}.ffn_gate_exps.bias": _GATE_BIASES,
        "blk.{}.ffn_up_exps.bias": _OTHER_BIASES,
        "blk.{}.ffn_down_exps.bias": f"{_EXPERTS}.down_proj_bias",
    },
    interleaved=False,
    instead=(),
)
