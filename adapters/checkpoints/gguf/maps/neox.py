"""GPT-NeoX and Falcon, whose fused QKV projection GGUF stores without interleaving."""

import attrs

from litgpt.adapters.checkpoints.gguf.architecture_map import ArchitectureMap, Config, HeaderField
from litgpt.adapters.checkpoints.gguf.maps.shared_maps import (
    LAYER_NORM_EPS,
    SIZE_FIELDS,
    detect_biases,
    hidden_size_heads,
    multi_head_attention,
)
from litgpt.adapters.checkpoints.gguf.model import GgufModel
from litgpt.adapters.checkpoints.gguf.rope_scaling import DEFAULT_BASE
from litgpt.adapters.checkpoints.gguf.tensor_layout import InterleaveQKV

_NEOX = "gpt_neox.layers.{}"
_FALCON = "transformer.h.{}"


def _parallel_residual(model: GgufModel) -> Config:
    return {
        "use_parallel_residual": model.metadata.flag(model.key("use_parallel_residual")) is not False,
    }


GPT_NEOX = ArchitectureMap(
    architecture="gptneox",
    model_type="gpt_neox",
    fields=(
        *SIZE_FIELDS,
        LAYER_NORM_EPS,
        HeaderField("rope.freq_base", "rotary_emb_base", is_integer=False, default=DEFAULT_BASE),
    ),
    constants={"hidden_act": "gelu"},
    attention=multi_head_attention,
    extra=(detect_biases(attention_bias=("attn_qkv", "attn_output")), _parallel_residual),
    attribute_map={"partial_rotary_factor": "rotary_pct"},
    tensor_map={
        "token_embd": "gpt_neox.embed_in",
        "output_norm": "gpt_neox.final_layer_norm",
        "output": "embed_out",
        "blk.{}.attn_norm": f"{_NEOX}.input_layernorm",
        "blk.{}.attn_qkv": InterleaveQKV(f"{_NEOX}.attention.query_key_value"),
        "blk.{}.attn_output": f"{_NEOX}.attention.dense",
        "blk.{}.ffn_norm": f"{_NEOX}.post_attention_layernorm",
        "blk.{}.ffn_up": f"{_NEOX}.mlp.dense_h_to_4h",
        "blk.{}.ffn_down": f"{_NEOX}.mlp.dense_4h_to_h",
    },
)


def _falcon_layout(model: GgufModel) -> Config:
    """Return the settings of Falcon's old (one key-value head, one norm) or new decoder architecture."""
    two_norms = "blk.0.attn_norm_2.weight" in model.tensors
    return {
        "new_decoder_architecture": two_norms or model.num_kv_heads > 1,
        "num_kv_heads": model.num_kv_heads,
        "num_ln_in_parallel_attn": 2 if two_norms else 1,
    }


FALCON = ArchitectureMap(
    architecture="falcon",
    model_type="falcon",
    fields=(
        *SIZE_FIELDS,
        HeaderField("attention.layer_norm_epsilon", "layer_norm_epsilon", is_integer=False, required=True),
        HeaderField("rope.freq_base", "rope_theta", is_integer=False, default=DEFAULT_BASE),
    ),
    constants={"activation": "gelu", "multi_query": True, "parallel_attn": True, "alibi": False},
    attention=hidden_size_heads,
    extra=(detect_biases(bias=("attn_qkv", "attn_output", "ffn_up", "ffn_down")), _falcon_layout),
    attribute_map={"intermediate_size": "ffn_hidden_size"},
    tensor_map={
        "token_embd": "transformer.word_embeddings",
        "output_norm": "transformer.ln_f",
        "output": "lm_head",
        "blk.{}.attn_norm": f"{_FALCON}.input_layernorm",
        "blk.{}.attn_qkv": InterleaveQKV(f"{_FALCON}.self_attention.query_key_value"),
        "blk.{}.attn_output": f"{_FALCON}.self_attention.dense",
        "blk.{}.ffn_up": f"{_FALCON}.mlp.dense_h_to_4h",
        "blk.{}.ffn_down": f"{_FALCON}.mlp.dense_4h_to_h",
    },
)

FALCON = attrs.evolve(
    FALCON,
    variants=(
        (
            lambda source: "blk.0.attn_norm_2.weight" in source.tensors,
            attrs.evolve(
                FALCON,
                tensor_map={
                    **FALCON.tensor_map,
                    "blk.{}.attn_norm": f"{_FALCON}.ln_mlp",
                    "blk.{}.attn_norm_2": f"{_FALCON}.ln_attn",
                },
            ),
        ),
    ),
)
