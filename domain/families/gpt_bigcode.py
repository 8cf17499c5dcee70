"""SantaCoder and StarCoder: GPT-2 with multi-query attention.

Source: Ben Allal et al. 2023, arXiv:2301.03988; Li et al. 2023, arXiv:2305.06161.
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.gpt2 import GPT2, require_scaled_attention
from litgpt.domain.families.schema.attention import AttentionSchema
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.mlp import MLPSchema
from litgpt.domain.families.schema.weight_rules import linear_tensors, model_tensors
from litgpt.domain.weights.mapping import WeightMapping

_LAYER = "transformer.h.{}"
_NUM_KV_HEADS = ConfigField("num_key_value_heads")


def _normalize_config(config: HFConfig) -> Mapping[str, object]:
    """Return the number of key-value heads: 1, or as many as query heads."""
    multi_query = config.flag(ConfigField("multi_query", default=True))
    heads = 1 if multi_query else config.integer(ConfigField("num_attention_heads"))
    return {**require_scaled_attention(config), _NUM_KV_HEADS.name: heads}


GPT_BIGCODE = attrs.evolve(
    GPT2,
    model_type="gpt_bigcode",
    normalize_config=_normalize_config,
    attention=AttentionSchema(qkv_bias=True, output_bias=True, num_kv_heads=_NUM_KV_HEADS, rope=None),
    mlp=MLPSchema(activation=ConfigField("activation_function", "gelu_pytorch_tanh")),
    prefix_aliases=(),
    unsupported_settings=("quantization_config", "add_cross_attention"),
    weights=(
        WeightMapping("transformer.wte.weight", ("transformer.wte.weight",)),
        WeightMapping("transformer.wpe.weight", ("transformer.wpe.weight",)),
        *linear_tensors("norm_1", "ln_1", within=_LAYER),
        # Rows are grouped by key-value head: its queries, then its key and value.
        *linear_tensors("attn.qkv", "attn.c_attn", within=_LAYER, grouped_qkv=True),
        *linear_tensors("attn.proj", "attn.c_proj", within=_LAYER),
        *linear_tensors("norm_2", "ln_2", within=_LAYER),
        *linear_tensors("mlp.fc", "mlp.c_fc", within=_LAYER),
        *linear_tensors("mlp.proj", "mlp.c_proj", within=_LAYER),
        *model_tensors("transformer.ln_f", "transformer.ln_f"),
        WeightMapping("lm_head.weight", ("lm_head.weight",)),
    ),
)
