"""GPT-2: LayerNorm, learned positions, non-gated MLPs, and transposed weights (`Conv1D`) in files.

Source: Radford et al. 2019, "Language Models are Unsupervised Multitask Learners".
"""

from collections.abc import Mapping

from litgpt.domain.families.schema.attention import AttentionSchema
from litgpt.domain.families.schema.family import Family
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.mlp import MLPSchema
from litgpt.domain.families.schema.norm import LayerNormSchema
from litgpt.domain.families.schema.weight_rules import linear_tensors, model_tensors
from litgpt.domain.weights.mapping import WeightMapping

_LAYER = "transformer.h.{}"


def require_scaled_attention(config: HFConfig) -> Mapping[str, object]:
    """Refuse unscaled attention, which no published model uses."""
    key = ConfigField("scale_attn_weights", default=True)
    if not config.flag(key):
        raise config.unsupported(key.name, False)
    return {}


GPT2 = Family(
    model_type="gpt2",
    attribute_map={
        "hidden_size": "n_embd",
        "num_hidden_layers": "n_layer",
        "num_attention_heads": "n_head",
        "max_position_embeddings": "n_positions",
        "intermediate_size": "n_inner",
    },
    normalize_config=require_scaled_attention,
    attention=AttentionSchema(qkv_bias=True, output_bias=True, num_kv_heads=None, rope=None),
    mlp=MLPSchema(activation=ConfigField("activation_function", "gelu_new")),
    norm=LayerNormSchema(eps=ConfigField("layer_norm_epsilon", 1e-5)),
    tie_word_embeddings=ConfigField("tie_word_embeddings", default=True),
    learned_positions=True,
    context_length=ConfigField("max_position_embeddings", 1024),
    # The first published files lack the `transformer.` prefix.
    prefix_aliases=tuple((prefix, f"transformer.{prefix}") for prefix in ("wte.", "wpe.", "h.", "ln_f.")),
    unused_tensors=("*.attn.bias", "*.attn.masked_bias"),
    unsupported_settings=("quantization_config", "scale_attn_by_inverse_layer_idx", "add_cross_attention"),
    weights=(
        WeightMapping("transformer.wte.weight", ("transformer.wte.weight",)),
        WeightMapping("transformer.wpe.weight", ("transformer.wpe.weight",)),
        *linear_tensors("norm_1", "ln_1", within=_LAYER),
        *linear_tensors("attn.qkv", "attn.c_attn", within=_LAYER, transposed=True),
        *linear_tensors("attn.proj", "attn.c_proj", within=_LAYER, transposed=True),
        *linear_tensors("norm_2", "ln_2", within=_LAYER),
        *linear_tensors("mlp.fc", "mlp.c_fc", within=_LAYER, transposed=True),
        *linear_tensors("mlp.proj", "mlp.c_proj", within=_LAYER, transposed=True),
        *model_tensors("transformer.ln_f", "transformer.ln_f"),
        WeightMapping("lm_head.weight", ("lm_head.weight",)),
    ),
)
