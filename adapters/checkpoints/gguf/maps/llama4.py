"""Llama 4; GGUF contains only the text model, without Hugging Face's multimodal prefix."""

import attrs

from litgpt.adapters.checkpoints.gguf.architecture_map import Config, HeaderField
from litgpt.adapters.checkpoints.gguf.maps.llama import LLAMA
from litgpt.adapters.checkpoints.gguf.maps.shared_maps import LAYER, SIGMOID, require_scoring
from litgpt.adapters.checkpoints.gguf.model import GgufModel
from litgpt.adapters.checkpoints.gguf.tensor_layout import Concat, Transpose

_FORWARD = f"{LAYER}.feed_forward"
_GATES, _REST = (
    Concat(f"{_FORWARD}.experts.gate_up_proj", number, 2, transposed=True, stacked=True) for number in (0, 1)
)

# Only Maverick has no QK norms; like llama.cpp, it is recognized by its number of experts.
_EXPERTS_OF_THE_LARGER = 128


def _use_qk_norm(model: GgufModel) -> Config:
    return {"use_qk_norm": model.integer("expert_count") != _EXPERTS_OF_THE_LARGER}


LLAMA4 = attrs.evolve(
    LLAMA,
    architecture="llama4",
    model_type="llama4_text",
    fields=(
        *LLAMA.fields,
        HeaderField("expert_count", "num_local_experts", required=True),
        HeaderField("expert_used_count", "num_experts_per_tok", required=True),
        HeaderField("expert_feed_forward_length", "expert_size", required=True),
        HeaderField("interleave_moe_layer_step", "interleave_moe_layer_step", required=True),
        HeaderField("attention.chunk_size", "attention_chunk_size", default=8192),
    ),
    # llama.cpp hardcodes these values of the published configs.
    constants={
        "hidden_act": "silu",
        "attn_temperature_tuning": True,
        "attn_scale": 0.1,
        "floor_scale": 8192,
        "no_rope_layer_interval": 4,
    },
    extra=(_use_qk_norm, require_scoring(SIGMOID)),
    # Hugging Face's `intermediate_size` is that of an expert.
    attribute_map={"expert_size": "intermediate_size", "intermediate_size": "intermediate_size_mlp"},
    tensor_map={
        **LLAMA.tensor_map,
        "blk.{}.ffn_gate": f"{_FORWARD}.gate_proj",
        "blk.{}.ffn_up": f"{_FORWARD}.up_proj",
        "blk.{}.ffn_down": f"{_FORWARD}.down_proj",
        "blk.{}.ffn_gate_inp": f"{_FORWARD}.router",
        "blk.{}.ffn_gate_shexp": f"{_FORWARD}.shared_expert.gate_proj",
        "blk.{}.ffn_up_shexp": f"{_FORWARD}.shared_expert.up_proj",
        "blk.{}.ffn_down_shexp": f"{_FORWARD}.shared_expert.down_proj",
        "blk.{}.ffn_gate_exps.weight": _GATES,
        "blk.{}.ffn_up_exps.weight": _REST,
        "blk.{}.ffn_down_exps.weight": Transpose(f"{_FORWARD}.experts.down_proj"),
    },
    interleaved=False,
    variants=(),
)
