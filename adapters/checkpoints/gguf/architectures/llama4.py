"""Llama 4, whose text part GGUF has without the level that Hugging Face puts around it."""

import attrs

from litgpt.adapters.checkpoints.gguf.architectures.llama import LLAMA
from litgpt.adapters.checkpoints.gguf.architectures.words import LAYER, SIGMOID, scored
from litgpt.adapters.checkpoints.gguf.dialect import Config, Setting
from litgpt.adapters.checkpoints.gguf.placing import Joined, Turned
from litgpt.adapters.checkpoints.gguf.source import Source

_FORWARD = f"{LAYER}.feed_forward"
_GATES, _REST = (
    Joined(f"{_FORWARD}.experts.gate_up_proj", number, 2, turned=True, stacked=True) for number in (0, 1)
)

# The larger one alone has no norms on queries and keys; llama.cpp knows it by its experts.
_EXPERTS_OF_THE_LARGER = 128


def _normalised(source: Source) -> Config:
    """Return whether queries and keys are normalised."""
    return {"use_qk_norm": source.integer("expert_count") != _EXPERTS_OF_THE_LARGER}


LLAMA4 = attrs.evolve(
    LLAMA,
    architecture="llama4",
    model_type="llama4_text",
    settings=(
        *LLAMA.settings,
        Setting("expert_count", "num_local_experts", required=True),
        Setting("expert_used_count", "num_experts_per_tok", required=True),
        Setting("expert_feed_forward_length", "expert_size", required=True),
        Setting("interleave_moe_layer_step", "interleave_moe_layer_step", required=True),
        Setting("attention.chunk_size", "attention_chunk_size", default=8192),
    ),
    # llama.cpp has these written down, as the published configs have them.
    constants={
        "hidden_act": "silu",
        "attn_temperature_tuning": True,
        "attn_scale": 0.1,
        "floor_scale": 8192,
        "no_rope_layer_interval": 4,
    },
    more=(_normalised, scored(SIGMOID)),
    # Hugging Face's plain size is that of an expert.
    called={"expert_size": "intermediate_size", "intermediate_size": "intermediate_size_mlp"},
    names={
        **LLAMA.names,
        "blk.{}.ffn_gate": f"{_FORWARD}.gate_proj",
        "blk.{}.ffn_up": f"{_FORWARD}.up_proj",
        "blk.{}.ffn_down": f"{_FORWARD}.down_proj",
        "blk.{}.ffn_gate_inp": f"{_FORWARD}.router",
        "blk.{}.ffn_gate_shexp": f"{_FORWARD}.shared_expert.gate_proj",
        "blk.{}.ffn_up_shexp": f"{_FORWARD}.shared_expert.up_proj",
        "blk.{}.ffn_down_shexp": f"{_FORWARD}.shared_expert.down_proj",
        "blk.{}.ffn_gate_exps.weight": _GATES,
        "blk.{}.ffn_up_exps.weight": _REST,
        "blk.{}.ffn_down_exps.weight": Turned(f"{_FORWARD}.experts.down_proj"),
    },
    interleaved=False,
    instead=(),
)
