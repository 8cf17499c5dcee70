"""Phi 1.5 and 2, which GGUF calls phi2, Phi 3 and 4, and Phi-3.5-MoE."""

import attrs

from litgpt.adapters.checkpoints.gguf.architectures.llama import LLAMA, MIXTRAL
from litgpt.adapters.checkpoints.gguf.architectures.words import (
    ATTENTION,
    BASE,
    BIASED,
    LAYER,
    LAYER_NORM,
    OUTSIDE,
    SIZES,
    biases,
    heads_only,
)
from litgpt.adapters.checkpoints.gguf.dialect import Config, Dialect, Setting
from litgpt.adapters.checkpoints.gguf.placing import Apart
from litgpt.adapters.checkpoints.gguf.rope import rope_scaling
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

# By what cosines and sines are multiplied, in the config.json of every Phi-3.5-MoE; GGUF has no key for it.
# llama.cpp takes the root that Phi 3 does, which is not what the model was trained with.
_MAGNITUDE = 1.243163121016122


def _said_apart(source: Source) -> Config | None:
    """Return how positions were stretched, with the magnitudes that this family says itself."""
    scaling = rope_scaling(source)
    if scaling is None:
        return None
    scaling.pop("attention_factor", None)
    return {**scaling, "short_mscale": _MAGNITUDE, "long_mscale": _MAGNITUDE}


PHIMOE = attrs.evolve(
    MIXTRAL,
    architecture="phimoe",
    model_type="phimoe",
    stretched=_said_apart,
    more=(
        *MIXTRAL.more,
        lambda source: {"sliding_window": source.integer("attention.sliding_window") or None},
        lambda source: {"lm_head_bias": "output.bias" in source.tensors},
        biases(attention_bias=BIASED),
    ),
    interleaved=False,
)
