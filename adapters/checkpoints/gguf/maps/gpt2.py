"""GPT-2, whose matrices GGUF transposes, and StarCoder 1 and 2."""

import attrs

from litgpt.adapters.checkpoints.gguf.architecture_map import ArchitectureMap, Config, HeaderField
from litgpt.adapters.checkpoints.gguf.maps.shared_maps import (
    ATTENTION_TENSORS,
    BIASED_TENSORS,
    EMBEDDING_TENSORS,
    LAYER,
    ROPE_THETA,
    SCALE_KEYS,
    SIZE_FIELDS,
    detect_biases,
    hidden_size_heads,
    without_rope,
)
from litgpt.adapters.checkpoints.gguf.model import GgufModel
from litgpt.adapters.checkpoints.gguf.tensor_layout import Transpose

_LAYER = "transformer.h.{}"


GPT2 = ArchitectureMap(
    architecture="gpt2",
    model_type="gpt2",
    fields=(
        *SIZE_FIELDS,
        HeaderField("attention.layer_norm_epsilon", "layer_norm_epsilon", is_integer=False, required=True),
    ),
    constants={"activation_function": "gelu_new"},
    attention=without_rope,
    attribute_map={
        "hidden_size": "n_embd",
        "num_hidden_layers": "n_layer",
        "num_attention_heads": "n_head",
        "max_position_embeddings": "n_positions",
        "intermediate_size": "n_inner",
    },
    unsupported_keys=(*SCALE_KEYS, "attention.clamp_kqv", "expert_count"),
    tensor_map={
        "token_embd": "transformer.wte",
        "position_embd": "transformer.wpe",
        "output_norm": "transformer.ln_f",
        "output": "lm_head",
        "blk.{}.attn_norm": f"{_LAYER}.ln_1",
        "blk.{}.attn_qkv": Transpose(f"{_LAYER}.attn.c_attn"),
        "blk.{}.attn_output": Transpose(f"{_LAYER}.attn.c_proj"),
        "blk.{}.ffn_norm": f"{_LAYER}.ln_2",
        "blk.{}.ffn_up": Transpose(f"{_LAYER}.mlp.c_fc"),
        "blk.{}.ffn_down": Transpose(f"{_LAYER}.mlp.c_proj"),
    },
)


def _multi_query(model: GgufModel) -> Config:
    """Return the heads of MQA; without it the layout differs, and converters do not write it."""
    if model.num_kv_heads != 1:
        raise model.metadata.unsupported("it does not use multi-query attention, which is not supported.")
    return {"num_attention_heads": model.num_heads, "multi_query": True}


STARCODER = attrs.evolve(
    GPT2,
    architecture="starcoder",
    model_type="gpt_bigcode",
    constants={"activation_function": "gelu_pytorch_tanh"},
    attention=_multi_query,
    tensor_map={
        **GPT2.tensor_map,
        "blk.{}.attn_qkv": f"{_LAYER}.attn.c_attn",
        "blk.{}.attn_output": f"{_LAYER}.attn.c_proj",
        "blk.{}.ffn_up": f"{_LAYER}.mlp.c_fc",
        "blk.{}.ffn_down": f"{_LAYER}.mlp.c_proj",
    },
)

STARCODER2 = ArchitectureMap(
    architecture="starcoder2",
    model_type="starcoder2",
    fields=(
        *SIZE_FIELDS,
        HeaderField("attention.layer_norm_epsilon", "norm_epsilon", is_integer=False, required=True),
        ROPE_THETA,
        HeaderField("attention.sliding_window", "sliding_window"),
    ),
    constants={"hidden_act": "gelu_pytorch_tanh"},
    attention=hidden_size_heads,
    extra=(detect_biases(use_bias=(*BIASED_TENSORS, "ffn_up", "ffn_down")),),
    unsupported_keys=(*SCALE_KEYS, "attention.clamp_kqv", "expert_count"),
    tensor_map={
        **EMBEDDING_TENSORS,
        **ATTENTION_TENSORS,
        "blk.{}.ffn_norm": f"{LAYER}.post_attention_layernorm",
        "blk.{}.ffn_up": f"{LAYER}.mlp.c_fc",
        "blk.{}.ffn_down": f"{LAYER}.mlp.c_proj",
    },
)
