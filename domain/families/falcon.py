"""Falcon: 7B with multi-query attention and one norm, 40B and 180B with grouped queries and two norms.

Source: Almazrouei et al. 2023, arXiv:2311.16867.
"""

from collections.abc import Mapping

from litgpt.domain.families.schema.alibi import AlibiSchema
from litgpt.domain.families.schema.attention import AttentionSchema
from litgpt.domain.families.schema.family import Family, ResidualSchema
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.mlp import MLPSchema
from litgpt.domain.families.schema.norm import LayerNormSchema
from litgpt.domain.families.schema.weight_rules import linear_tensors, model_tensors
from litgpt.domain.model import Architecture
from litgpt.domain.weights.mapping import WeightMapping

_LAYER = "transformer.h.{}"
_BIAS = ConfigField("bias", default=False)


def _normalize_config(config: HFConfig) -> Mapping[str, object]:
    """Return key-value heads and norms, which the older configs express by flags."""
    newer = config.flag(ConfigField("new_decoder_architecture", default=False))
    heads = config.get(ConfigField("num_attention_heads"))
    if newer:
        groups = config.get(ConfigField("num_kv_heads", heads))
    else:
        groups = 1 if config.flag(ConfigField("multi_query", default=True)) else heads
    norms = config.get(ConfigField("num_ln_in_parallel_attn", 2 if newer else 1))
    return {
        "num_kv_heads": groups,
        "parallel_attn": newer or config.flag(ConfigField("parallel_attn", default=True)),
        "one_norm": norms == 1,
    }


def _has_two_parallel_norms(architecture: Architecture) -> bool:
    first = architecture.layers[0]
    return first.parallel_residual and first.norm_2 is not None


FALCON = Family(
    model_type="falcon",
    attribute_map={"num_hidden_layers": "n_layer", "num_attention_heads": "n_head"},
    normalize_config=_normalize_config,
    attention=AttentionSchema(
        qkv_bias=_BIAS,
        output_bias=_BIAS,
        num_kv_heads=ConfigField("num_kv_heads"),
        alibi=AlibiSchema(enabled=ConfigField("alibi", default=False), in_bfloat16=True, scaled=True),
    ),
    mlp=MLPSchema(
        activation=ConfigField("activation", "gelu"),
        bias=_BIAS,
        intermediate_size=ConfigField("ffn_hidden_size", None),
    ),
    norm=LayerNormSchema(eps=ConfigField("layer_norm_epsilon", 1e-5)),
    residual=ResidualSchema(parallel=ConfigField("parallel_attn"), shared_norm=ConfigField("one_norm")),
    tie_word_embeddings=ConfigField("tie_word_embeddings", default=True),
    weights=(
        WeightMapping("transformer.wte.weight", ("transformer.word_embeddings.weight",)),
        *linear_tensors("norm_1", "ln_attn", within=_LAYER, condition=_has_two_parallel_norms),
        *linear_tensors("norm_2", "ln_mlp", within=_LAYER, condition=_has_two_parallel_norms),
        *linear_tensors("norm_1", "input_layernorm", within=_LAYER),
        *linear_tensors("norm_2", "post_attention_layernorm", within=_LAYER),
        *linear_tensors("attn.qkv", "self_attention.query_key_value", within=_LAYER, grouped_qkv=True),
        *linear_tensors("attn.proj", "self_attention.dense", within=_LAYER),
        *linear_tensors("mlp.fc", "mlp.dense_h_to_4h", within=_LAYER),
        *linear_tensors("mlp.proj", "mlp.dense_4h_to_h", within=_LAYER),
        *model_tensors("transformer.ln_f", "transformer.ln_f"),
        WeightMapping("lm_head.weight", ("lm_head.weight",)),
    ),
)
