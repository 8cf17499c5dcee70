"""GPT-Neo: GPT-2 with sliding windows in every second layer, and attention scores without a scale.

Source: Black et al. 2021, "GPT-Neo: Large Scale Autoregressive Language Modeling with Mesh-Tensorflow".
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.gpt2 import GPT2
from litgpt.domain.families.schema.attention import AttentionSchema, SlidingWindowSchema
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.weight_rules import linear_tensors, model_tensors
from litgpt.domain.weights.mapping import WeightMapping

_LAYER = "transformer.h.{}"
_KINDS = {"global": "full_attention", "local": "sliding_attention"}


def _layer_types(config: HFConfig) -> Mapping[str, object]:
    """Return the type of each layer, from `attention_layers` or else `attention_types`.

    The latter has pairs of a list of types and its repetitions.
    """
    key = ConfigField("attention_types", [[["global", "local"], 12]])
    layers = config.integer(ConfigField("num_hidden_layers"))
    kinds: list[str] = []
    pairs = config.get(key)
    if (listed := config.get(ConfigField("attention_layers", None))) is not None:
        key, pairs = ConfigField("attention_layers"), [[listed, 1]]
    try:
        for types, repetitions in pairs:
            kinds += [_KINDS[kind] for kind in types] * min(repetitions, layers)
    except (KeyError, TypeError, ValueError):
        config.raise_invalid(
            key, "lists of 'global' and 'local', in attention_types with numbers of repetitions"
        )
    if len(kinds) != layers:
        config.raise_invalid(key, f"the types of {layers} layers, as num_layers is")
    return {"layer_types": kinds}


GPT_NEO = attrs.evolve(
    GPT2,
    model_type="gpt_neo",
    attribute_map={"num_hidden_layers": "num_layers", "num_attention_heads": "num_heads"},
    normalize_config=_layer_types,
    attention=AttentionSchema(
        output_bias=True,
        num_kv_heads=None,
        scale=1.0,
        sliding_window=SlidingWindowSchema(size=ConfigField("window_size", 256)),
        rope=None,
    ),
    context_length=ConfigField("max_position_embeddings", 2048),
    unused_tensors=("*.attn.attention.bias", "*.attn.attention.masked_bias"),
    unsupported_settings=("quantization_config",),
    weights=(
        WeightMapping("transformer.wte.weight", ("transformer.wte.weight",)),
        WeightMapping("transformer.wpe.weight", ("transformer.wpe.weight",)),
        *linear_tensors("norm_1", "ln_1", within=_LAYER),
        *linear_tensors(
            "attn.qkv",
            "attn.attention.q_proj",
            "attn.attention.k_proj",
            "attn.attention.v_proj",
            within=_LAYER,
        ),
        *linear_tensors("attn.proj", "attn.attention.out_proj", within=_LAYER),
        *linear_tensors("norm_2", "ln_2", within=_LAYER),
        *linear_tensors("mlp.fc", "mlp.c_fc", within=_LAYER),
        *linear_tensors("mlp.proj", "mlp.c_proj", within=_LAYER),
        *model_tensors("transformer.ln_f", "transformer.ln_f"),
        WeightMapping("lm_head.weight", ("lm_head.weight",)),
    ),
)
