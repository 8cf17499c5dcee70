"""MPT: ALiBi, LayerNorm without bias, non-gated MLPs.

Source: MosaicML NLP Team 2023, "Introducing MPT-7B".
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.schema.alibi import AlibiSchema
from litgpt.domain.families.schema.attention import AttentionSchema
from litgpt.domain.families.schema.family import Family
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.mlp import MLPSchema
from litgpt.domain.families.schema.norm import LayerNormSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor
from litgpt.domain.weights.mapping import WeightMapping

_LAYER = "transformer.blocks.{}"
_MULTIHEAD_ATTENTION = "multihead_attention"


def _normalize_config(config: HFConfig) -> Mapping[str, object]:
    """Return the settings in `attn_config` as top-level settings."""
    attention = attrs.evolve(config, values=config.mapping(ConfigField("attn_config")))
    for name in ("prefix_lm", "qk_ln"):
        if attention.get(ConfigField(name, default=False)):
            raise attention.unsupported(name, True)
    if not attention.flag(ConfigField("alibi", default=True)):
        raise attention.unsupported("alibi", False)
    if (kind := attention.get(ConfigField("attn_type", _MULTIHEAD_ATTENTION))) != _MULTIHEAD_ATTENTION:
        raise attention.unsupported("attn_type", kind)
    if not config.flag(ConfigField("no_bias", default=True)):
        raise config.unsupported("no_bias", False)
    width, heads = (
        config.integer(ConfigField("hidden_size")),
        config.integer(ConfigField("num_attention_heads")),
    )
    return {
        "clip_qkv": attention.get(ConfigField("clip_qkv", None)) or None,
        "softmax_scale": attention.get(ConfigField("softmax_scale", (width / heads) ** -0.5)),
        "alibi_bias_max": attention.get(ConfigField("alibi_bias_max", 8)),
    }


MPT = Family(
    model_type="mpt",
    attribute_map={
        "hidden_size": "d_model",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "max_position_embeddings": "max_seq_len",
    },
    normalize_config=_normalize_config,
    attention=AttentionSchema(
        num_kv_heads=None,
        rope=None,
        alibi=AlibiSchema(),
        scale=ConfigField("softmax_scale"),
        clip_qkv=ConfigField("clip_qkv", None),
    ),
    mlp=MLPSchema(bias=False, intermediate_size=None),
    norm=LayerNormSchema(eps=ConfigField("layer_norm_epsilon", 1e-5), bias=False),
    tie_word_embeddings=ConfigField("tie_word_embeddings", default=True),
    unsupported_settings=("quantization_config", "logit_scale"),
    weights=(
        WeightMapping("transformer.wte.weight", ("transformer.wte.weight",)),
        layer_tensor("norm_1.weight", "norm_1.weight", within=_LAYER),
        layer_tensor("attn.qkv.weight", "attn.Wqkv.weight", within=_LAYER),
        layer_tensor("attn.proj.weight", "attn.out_proj.weight", within=_LAYER),
        layer_tensor("norm_2.weight", "norm_2.weight", within=_LAYER),
        layer_tensor("mlp.fc.weight", "ffn.up_proj.weight", within=_LAYER),
        layer_tensor("mlp.proj.weight", "ffn.down_proj.weight", within=_LAYER),
        WeightMapping("transformer.ln_f.weight", ("transformer.norm_f.weight",)),
        WeightMapping("lm_head.weight", ("lm_head.weight",)),
    ),
)
