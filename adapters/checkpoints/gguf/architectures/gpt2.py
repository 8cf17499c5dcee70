"""GPT-2, whose matrices GGUF turns upright, and StarCoder 1 and 2."""

import attrs

from litgpt.adapters.checkpoints.gguf.architectures.words import (
    ATTENTION,
    BASE,
    BIASED,
    LAYER,
    OUTSIDE,
    SCALES,
    SIZES,
    biases,
    by_width,
    no_rotation,
)
from litgpt.adapters.checkpoints.gguf.dialect import Config, Dialect, Setting
from litgpt.adapters.checkpoints.gguf.placing import Turned
from litgpt.adapters.checkpoints.gguf.source import Source

_LAYER = "transformer.h.{}"


GPT2 = Dialect(
    architecture="gpt2",
    model_type="gpt2",
    settings=(
        *SIZES,
        Setting("attention.layer_norm_epsilon", "layer_norm_epsilon", whole=False, required=True),
    ),
    constants={"activation_function": "gelu_new"},
    attention=no_rotation,
    called={
        "hidden_size": "n_embd",
        "num_hidden_layers": "n_layer",
        "num_attention_heads": "n_head",
        "max_position_embeddings": "n_positions",
        "intermediate_size": "n_inner",
    },
    refused=(*SCALES, "attention.clamp_kqv", "expert_count"),
    names={
        "token_embd": "transformer.wte",
        "position_embd": "transformer.wpe",
        "output_norm": "transformer.ln_f",
        "output": "lm_head",
        "blk.{}.attn_norm": f"{_LAYER}.ln_1",
        "blk.{}.attn_qkv": Turned(f"{_LAYER}.attn.c_attn"),
        "blk.{}.attn_output": Turned(f"{_LAYER}.attn.c_proj"),
        "blk.{}.ffn_norm": f"{_LAYER}.ln_2",
        "blk.{}.ffn_up": Turned(f"{_LAYER}.mlp.c_fc"),
        "blk.{}.ffn_down": Turned(f"{_LAYER}.mlp.c_proj"),
    },
)


def _multi_query(source: Source) -> Config:
    """Return the heads, all of which share keys and values.

    Raises:
        UnsupportedModel: They do not; Hugging Face then has another order, which no file is written from.

    """
    if source.groups != 1:
        raise source.metadata.refuse("its heads do not share keys and values, which is not implemented.")
    return {"num_attention_heads": source.heads, "multi_query": True}


STARCODER = attrs.evolve(
    GPT2,
    architecture="starcoder",
    model_type="gpt_bigcode",
    constants={"activation_function": "gelu_pytorch_tanh"},
    attention=_multi_query,
    names={
        **GPT2.names,
        "blk.{}.attn_qkv": f"{_LAYER}.attn.c_attn",
        "blk.{}.attn_output": f"{_LAYER}.attn.c_proj",
        "blk.{}.ffn_up": f"{_LAYER}.mlp.c_fc",
        "blk.{}.ffn_down": f"{_LAYER}.mlp.c_proj",
    },
)

STARCODER2 = Dialect(
    architecture="starcoder2",
    model_type="starcoder2",
    settings=(
        *SIZES,
        Setting("attention.layer_norm_epsilon", "norm_epsilon", whole=False, required=True),
        BASE,
        Setting("attention.sliding_window", "sliding_window"),
    ),
    constants={"hidden_act": "gelu_pytorch_tanh"},
    attention=by_width,
    more=(biases(use_bias=(*BIASED, "ffn_up", "ffn_down")),),
    refused=(*SCALES, "attention.clamp_kqv", "expert_count"),
    names={
        **OUTSIDE,
        **ATTENTION,
        "blk.{}.ffn_norm": f"{LAYER}.post_attention_layernorm",
        "blk.{}.ffn_up": f"{LAYER}.mlp.c_fc",
        "blk.{}.ffn_down": f"{LAYER}.mlp.c_proj",
    },
)
