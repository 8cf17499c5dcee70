"""BLOOM and MPT, whose scores fall with distance."""

from litgpt.adapters.checkpoints.gguf.architectures.words import SCALES, SIZES, no_rotation
from litgpt.adapters.checkpoints.gguf.dialect import Config, Dialect, Setting
from litgpt.adapters.checkpoints.gguf.placing import Dealt
from litgpt.adapters.checkpoints.gguf.source import Source

_BLOOM, _MPT = "transformer.h.{}", "transformer.blocks.{}"
_EPSILON = Setting("attention.layer_norm_epsilon", "layer_norm_epsilon", whole=False, required=True)
_CALLED = {"num_hidden_layers": "n_layer", "num_attention_heads": "n_head"}


BLOOM = Dialect(
    architecture="bloom",
    model_type="bloom",
    settings=(*SIZES, _EPSILON),
    attention=no_rotation,
    called={**_CALLED, "max_position_embeddings": "seq_length"},
    refused=(*SCALES, "attention.clamp_kqv", "expert_count"),
    names={
        "token_embd": "transformer.word_embeddings",
        "token_embd_norm": "transformer.word_embeddings_layernorm",
        "output_norm": "transformer.ln_f",
        "output": "lm_head",
        "blk.{}.attn_norm": f"{_BLOOM}.input_layernorm",
        "blk.{}.attn_qkv": Dealt(f"{_BLOOM}.self_attention.query_key_value"),
        "blk.{}.attn_output": f"{_BLOOM}.self_attention.dense",
        "blk.{}.ffn_norm": f"{_BLOOM}.post_attention_layernorm",
        "blk.{}.ffn_up": f"{_BLOOM}.mlp.dense_h_to_4h",
        "blk.{}.ffn_down": f"{_BLOOM}.mlp.dense_4h_to_h",
    },
)


def _scores(source: Source) -> Config:
    """Return how scores fall, and by what queries, keys and values are bounded.

    Raises:
        UnsupportedModel: They do not fall: positions are embedded.

    """
    steepest = source.number("attention.max_alibi_bias")
    if not steepest:
        raise source.metadata.refuse("its scores do not fall with distance, which is not implemented.")
    clip = source.number("attention.clamp_kqv") or None
    # Hugging Face's config takes nothing but a whole number.
    bias_max = int(steepest) if steepest.is_integer() else steepest
    return {"attn_config": {"alibi": True, "alibi_bias_max": bias_max, "clip_qkv": clip}}


MPT = Dialect(
    architecture="mpt",
    model_type="mpt",
    settings=(*SIZES, _EPSILON),
    constants={"expansion_ratio": 4, "no_bias": True},
    attention=no_rotation,
    more=(_scores,),
    called={
        "hidden_size": "d_model",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "max_position_embeddings": "max_seq_len",
    },
    refused=(*SCALES, "expert_count"),
    names={
        "token_embd": "transformer.wte",
        "output_norm": "transformer.norm_f",
        "output": "lm_head",
        "blk.{}.attn_norm": f"{_MPT}.norm_1",
        "blk.{}.attn_qkv": f"{_MPT}.attn.Wqkv",
        "blk.{}.attn_output": f"{_MPT}.attn.out_proj",
        "blk.{}.ffn_norm": f"{_MPT}.norm_2",
        "blk.{}.ffn_up": f"{_MPT}.ffn.up_proj",
        "blk.{}.ffn_down": f"{_MPT}.ffn.down_proj",
    },
)
