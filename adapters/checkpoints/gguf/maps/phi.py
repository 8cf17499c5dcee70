"""Phi 1.5 and 2 (GGUF's phi2), Phi 3 and 4, and Phi-3.5-MoE."""

import attrs

from litgpt.adapters.checkpoints.gguf.architecture_map import ArchitectureMap, Config, HeaderField
from litgpt.adapters.checkpoints.gguf.maps.llama import LLAMA, MIXTRAL
from litgpt.adapters.checkpoints.gguf.maps.shared_maps import (
    ATTENTION_TENSORS,
    BIASED_TENSORS,
    EMBEDDING_TENSORS,
    LAYER,
    LAYER_NORM_EPS,
    ROPE_THETA,
    SIZE_FIELDS,
    detect_biases,
    multi_head_attention,
)
from litgpt.adapters.checkpoints.gguf.model import GgufModel
from litgpt.adapters.checkpoints.gguf.rope_scaling import rope_scaling
from litgpt.adapters.checkpoints.gguf.tensor_layout import SplitQKV

_ATTENTION = f"{LAYER}.self_attn"

PHI2 = ArchitectureMap(
    architecture="phi2",
    model_type="phi",
    fields=(*SIZE_FIELDS, LAYER_NORM_EPS, ROPE_THETA),
    constants={"hidden_act": "gelu_new", "qk_layernorm": False},
    attention=multi_head_attention,
    tensor_map={
        **EMBEDDING_TENSORS,
        "output_norm": "model.final_layernorm",
        **ATTENTION_TENSORS,
        "blk.{}.attn_qkv": SplitQKV((f"{_ATTENTION}.q_proj", f"{_ATTENTION}.k_proj", f"{_ATTENTION}.v_proj")),
        "blk.{}.attn_output": f"{_ATTENTION}.dense",
        "blk.{}.ffn_up": f"{LAYER}.mlp.fc1",
        "blk.{}.ffn_down": f"{LAYER}.mlp.fc2",
    },
)


def _original_max_position(model: GgufModel) -> Config:
    """Return the context length before RoPE scaling, which Phi 3 stores outside of `rope_scaling`."""
    original = model.integer("rope.scaling.original_context_length")
    return {} if original is None else {"original_max_position_embeddings": original}


PHI3 = attrs.evolve(
    LLAMA,
    architecture="phi3",
    model_type="phi3",
    fields=(*LLAMA.fields, HeaderField("attention.sliding_window", "sliding_window")),
    extra=(
        lambda source: {"sliding_window": source.integer("attention.sliding_window") or None},
        _original_max_position,
    ),
    unsupported_keys=(*LLAMA.unsupported_keys, "expert_count"),
    tensor_map={
        **LLAMA.tensor_map,
        "blk.{}.attn_qkv": f"{_ATTENTION}.qkv_proj",
        "blk.{}.ffn_up": f"{LAYER}.mlp.gate_up_proj",
    },
    interleaved=False,
    variants=(),
)

# The short_mscale and long_mscale of every Phi-3.5-MoE, for which GGUF has no key. llama.cpp uses Phi 3's
# attention factor, which differs from training.
_MSCALE = 1.243163121016122


def _phimoe_rope_scaling(model: GgufModel) -> Config | None:
    scaling = rope_scaling(model)
    if scaling is None:
        return None
    scaling.pop("attention_factor", None)
    return {**scaling, "short_mscale": _MSCALE, "long_mscale": _MSCALE}


PHIMOE = attrs.evolve(
    MIXTRAL,
    architecture="phimoe",
    model_type="phimoe",
    rope_scaling=_phimoe_rope_scaling,
    extra=(
        *MIXTRAL.extra,
        lambda source: {"sliding_window": source.integer("attention.sliding_window") or None},
        lambda source: {"lm_head_bias": "output.bias" in source.tensors},
        detect_biases(attention_bias=BIASED_TENSORS),
    ),
    interleaved=False,
)
