"""GPT-NeoX and Falcon, whose queries, keys and values are joined: GGUF puts them one after another."""

import attrs

from litgpt.adapters.checkpoints.gguf.architectures.words import (
    LAYER_NORM,
    SIZES,
    biases,
    by_width,
    heads_only,
)
from litgpt.adapters.checkpoints.gguf.dialect import Config, Dialect, Setting
from litgpt.adapters.checkpoints.gguf.placing import Dealt
from litgpt.adapters.checkpoints.gguf.rope import DEFAULT_BASE
from litgpt.adapters.checkpoints.gguf.source import Source

_NEOX = "gpt_neox.layers.{}"
_FALCON = "transformer.h.{}"


def _side_by_side(source: Source) -> Config:
    return {
        "use_parallel_residual": source.metadata.flag(source.key("use_parallel_residual")) is not False,
    }


GPT_NEOX = Dialect(
    architecture="gptneox",
    model_type="gpt_neox",
    settings=(
        *SIZES,
        LAYER_NORM,
        Setting("rope.freq_base", "rotary_emb_base", whole=False, default=DEFAULT_BASE),
    ),
    constants={"hidden_act": "gelu"},
    attention=heads_only,
    more=(biases(attention_bias=("attn_qkv", "attn_output")), _side_by_side),
    called={"partial_rotary_factor": "rotary_pct"},
    names={
        "token_embd": "gpt_neox.embed_in",
        "output_norm": "gpt_neox.final_layer_norm",
        "output": "embed_out",
        "blk.{}.attn_norm": f"{_NEOX}.input_layernorm",
        "blk.{}.attn_qkv": Dealt(f"{_NEOX}.attention.query_key_value"),
        "blk.{}.attn_output": f"{_NEOX}.attention.dense",
        "blk.{}.ffn_norm": f"{_NEOX}.post_attention_layernorm",
        "blk.{}.ffn_up": f"{_NEOX}.mlp.dense_h_to_4h",
        "blk.{}.ffn_down": f"{_NEOX}.mlp.dense_4h_to_h",
    },
)


def _layout(source: Source) -> Config:
    """Return which of Falcon's layouts it is: the older has one key-value head and one norm."""
    two_norms = "blk.0.attn_norm_2.weight" in source.tensors
    return {
        "new_decoder_architecture": two_norms or source.groups > 1,
        "num_kv_heads": source.groups,
        "num_ln_in_parallel_attn": 2 if two_norms else 1,
    }


FALCON = Dialect(
    architecture="falcon",
    model_type="falcon",
    settings=(
        *SIZES,
        Setting("attention.layer_norm_epsilon", "layer_norm_epsilon", whole=False, required=True),
        Setting("rope.freq_base", "rope_theta", whole=False, default=DEFAULT_BASE),
    ),
    constants={"activation": "gelu", "multi_query": True, "parallel_attn": True, "alibi": False},
    attention=by_width,
    more=(biases(bias=("attn_qkv", "attn_output", "ffn_up", "ffn_down")), _layout),
    called={"intermediate_size": "ffn_hidden_size"},
    names={
        "token_embd": "transformer.word_embeddings",
        "output_norm": "transformer.ln_f",
        "output": "lm_head",
        "blk.{}.attn_norm": f"{_FALCON}.input_layernorm",
        "blk.{}.attn_qkv": Dealt(f"{_FALCON}.self_attention.query_key_value"),
        "blk.{}.attn_output": f"{_FALCON}.self_attention.dense",
        "blk.{}.ffn_up": f"{_FALCON}.mlp.dense_h_to_4h",
        "blk.{}.ffn_down": f"{_FALCON}.mlp.dense_4h_to_h",
    },
)

FALCON = attrs.evolve(
    FALCON,
    instead=(
        (
            lambda source: "blk.0.attn_norm_2.weight" in source.tensors,
            attrs.evolve(
                FALCON,
                names={
                    **FALCON.names,
                    "blk.{}.attn_norm": f"{_FALCON}.ln_mlp",
                    "blk.{}.attn_norm_2": f"{_FALCON}.ln_attn",
                },
            ),
        ),
    ),
)
