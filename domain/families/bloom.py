"""BLOOM: ALiBi, and a LayerNorm after the embedding.

Source: BigScience Workshop 2022, arXiv:2211.05100.
"""

from litgpt.domain.families.schema.alibi import AlibiSchema
from litgpt.domain.families.schema.attention import AttentionSchema
from litgpt.domain.families.schema.family import Family
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.mlp import MLPSchema
from litgpt.domain.families.schema.norm import LayerNormSchema
from litgpt.domain.families.schema.weight_rules import linear_tensors, model_tensors
from litgpt.domain.weights.mapping import WeightMapping

_LAYER = "transformer.h.{}"

BLOOM = Family(
    model_type="bloom",
    attribute_map={
        "hidden_size": "n_embed",
        "num_hidden_layers": "n_layer",
        "num_attention_heads": "n_head",
        "max_position_embeddings": "seq_length",
    },
    attention=AttentionSchema(
        qkv_bias=True, output_bias=True, num_kv_heads=None, rope=None, alibi=AlibiSchema()
    ),
    mlp=MLPSchema(activation=ConfigField("hidden_act", "gelu_pytorch_tanh"), intermediate_size=None),
    norm=LayerNormSchema(eps=ConfigField("layer_norm_epsilon", 1e-5)),
    embedding_norm=True,
    tie_word_embeddings=ConfigField("tie_word_embeddings", default=True),
    # The published files lack the `transformer.` prefix.
    prefix_aliases=tuple(
        (prefix, f"transformer.{prefix}")
        for prefix in ("word_embeddings.", "word_embeddings_layernorm.", "h.", "ln_f.")
    ),
    unused_tensors=("*.self_attention.bias", "*.self_attention.masked_bias"),
    unsupported_settings=(
        "quantization_config",
        "apply_residual_connection_post_layernorm",
        "slow_but_exact",
    ),
    weights=(
        WeightMapping("transformer.wte.weight", ("transformer.word_embeddings.weight",)),
        *model_tensors("transformer.wte_norm", "transformer.word_embeddings_layernorm"),
        *linear_tensors("norm_1", "input_layernorm", within=_LAYER),
        *linear_tensors("attn.qkv", "self_attention.query_key_value", within=_LAYER, grouped_qkv=True),
        *linear_tensors("attn.proj", "self_attention.dense", within=_LAYER),
        *linear_tensors("norm_2", "post_attention_layernorm", within=_LAYER),
        *linear_tensors("mlp.fc", "mlp.dense_h_to_4h", within=_LAYER),
        *linear_tensors("mlp.proj", "mlp.dense_4h_to_h", within=_LAYER),
        *model_tensors("transformer.ln_f", "transformer.ln_f"),
        WeightMapping("lm_head.weight", ("lm_head.weight",)),
    ),
)
