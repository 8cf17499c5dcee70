"""GPT-2, whose matrices GGUF turns upright, and StarCoder 2."""

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
)
from litgpt.adapters.checkpoints.gguf.dialect import Config, Dialect, Setting
from litgpt.adapters.checkpoints.gguf.placing import Turned
from litgpt.adapters.checkpoints.gguf.source import Source

_LAYER = "transformer.h.{}"


def _heads(source: Source) -> Config:
    if source.groups != source.heads:
        raise source.metadata.refuse("its heads share keys and values, which is not implemented.")
    return {"num_attention_heads": source.heads}


GPT2 = Dialect(
    architecture="gpt2",
    model_type="gpt2",
    settings=(
        *SIZES,
        Setting("attention.layer_norm_epsilon", "layer_norm_epsilon", whole=False, required=True),
    ),
    constants={"activation_function": "gelu_new"},
    attention=_heads,
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
