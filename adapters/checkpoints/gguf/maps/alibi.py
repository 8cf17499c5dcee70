"""BLOOM and MPT, which use ALiBi."""

from litgpt.adapters.checkpoints.gguf.architecture_map import ArchitectureMap, Config, HeaderField
from litgpt.adapters.checkpoints.gguf.maps.shared_maps import SCALE_KEYS, SIZE_FIELDS, without_rope
from litgpt.adapters.checkpoints.gguf.model import GgufModel
from litgpt.adapters.checkpoints.gguf.tensor_layout import InterleaveQKV

_BLOOM, _MPT = "transformer.h.{}", "transformer.blocks.{}"
_EPSILON = HeaderField("attention.layer_norm_epsilon", "layer_norm_epsilon", is_integer=False, required=True)
_ATTRIBUTE_MAP = {"num_hidden_layers": "n_layer", "num_attention_heads": "n_head"}


BLOOM = ArchitectureMap(
    architecture="bloom",
    model_type="bloom",
    fields=(*SIZE_FIELDS, _EPSILON),
    attention=without_rope,
    attribute_map={**_ATTRIBUTE_MAP, "max_position_embeddings": "seq_length"},
    unsupported_keys=(*SCALE_KEYS, "attention.clamp_kqv", "expert_count"),
    tensor_map={
        "token_embd": "transformer.word_embeddings",
        "token_embd_norm": "transformer.word_embeddings_layernorm",
        "output_norm": "transformer.ln_f",
        "output": "lm_head",
        "blk.{}.attn_norm": f"{_BLOOM}.input_layernorm",
        "blk.{}.attn_qkv": InterleaveQKV(f"{_BLOOM}.self_attention.query_key_value"),
        "blk.{}.attn_output": f"{_BLOOM}.self_attention.dense",
        "blk.{}.ffn_norm": f"{_BLOOM}.post_attention_layernorm",
        "blk.{}.ffn_up": f"{_BLOOM}.mlp.dense_h_to_4h",
        "blk.{}.ffn_down": f"{_BLOOM}.mlp.dense_4h_to_h",
    },
)


def _alibi(model: GgufModel) -> Config:
    steepest = model.number("attention.max_alibi_bias")
    if not steepest:
        raise model.metadata.unsupported(
            "it does not use ALiBi, which is not supported for its architecture."
        )
    clip = model.number("attention.clamp_kqv") or None
    # Hugging Face's config requires an integer.
    bias_max = int(steepest) if steepest.is_integer() else steepest
    return {"attn_config": {"alibi": True, "alibi_bias_max": bias_max, "clip_qkv": clip}}


MPT = ArchitectureMap(
    architecture="mpt",
    model_type="mpt",
    fields=(*SIZE_FIELDS, _EPSILON),
    constants={"expansion_ratio": 4, "no_bias": True},
    attention=without_rope,
    extra=(_alibi,),
    attribute_map={
        "hidden_size": "d_model",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "max_position_embeddings": "max_seq_len",
    },
    unsupported_keys=(*SCALE_KEYS, "expert_count"),
    tensor_map={
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
