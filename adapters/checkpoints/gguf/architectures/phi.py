"""Phi 1.5 and 2, which GGUF calls phi2, and Phi 3 and 4."""

import attrs

from litgpt.adapters.checkpoints.gguf.architectures.llama import LLAMA
from litgpt.adapters.checkpoints.gguf.architectures.words import (
    ATTENTION,
    BASE,
    LAYER,
    LAYER_NORM,
    OUTSIDE,
    SIZES,
    heads_only,
)
from litgpt.adapters.checkpoints.gguf.dialect import Config, Dialect, Setting
from litgpt.adapters.checkpoints.gguf.placing import Apart
from litgpt.adapters.checkpoints.gguf.source import Source

_ATTENTION = f"{LAYER}.self_attn"

PHI2 = Dialect(
    architecture="phi2",
    model_type="phi",
    settings=(*SIZES, LAYER_NORM, BASE),
    constants={"hidden_act": "gelu_new", "qk_layernorm": False},
    attention=heads_only,
    names={
        **OUTSIDE,
        "output_norm": "model.final_layernorm",
        **ATTENTION,
        "blk.{}.attn_qkv": Apart((f"{_ATTENTION}.q_proj", f"{_ATTENTION}.k_proj", f"{_ATTENTION}.v_proj")),
        "blk.{}.attn_output": f"{_ATTENTION}.dense",
        "blk.{}.ffn_up": f"{LAYER}.mlp.fc1",
        "blk.{}.ffn_down": f"{LAYER}.mlp.fc2",
    },
)


def _stretched(source: Source) -> Config:
    """Return how long texts were before positions were stretched, which Phi 3 says apart from the rest."""
    original = source.integer("rope.scaling.original_context_length")
    return {} if original is None else {"original_max_position_embeddings": original}


PHI3 = attrs.evolve(
    LLAMA,
    architecture="phi3",
    model_type="phi3",
    settings=(*LLAMA.settings, Setting("attention.sliding_window", "sliding_window")),
    more=(lambda source: {"sliding_window": source.integer("attention.sliding_window") or None}, _stretched),
    refused=(*LLAMA.refused, "expert_count"),
    names={
        **LLAMA.names,
        "blk.{}.attn_qkv": f"{_ATTENTION}.qkv_proj",
        "blk.{}.ffn_up": f"{LAYER}.mlp.gate_up_proj",
    },
    interleaved=False,
    instead=(),
)
