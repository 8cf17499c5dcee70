"""GPT (the first): GPT-2 with norms after the residual additions, and none before the head.

Source: Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training".
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.gpt2 import GPT2
from litgpt.domain.families.schema.family import ResidualSchema
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.mlp import MLPSchema
from litgpt.domain.families.schema.weight_rules import linear_tensors
from litgpt.domain.weights.mapping import WeightMapping

_LAYER = "transformer.h.{}"


def _normalize_config(config: HFConfig) -> Mapping[str, object]:
    activation = config.get(ConfigField("afn", "gelu"))
    return {"afn": "gelu_new" if activation == "gelu" else activation}


OPENAI_GPT = attrs.evolve(
    GPT2,
    model_type="openai-gpt",
    attribute_map={name: value for name, value in GPT2.attribute_map.items() if name != "intermediate_size"},
    normalize_config=_normalize_config,
    mlp=MLPSchema(activation=ConfigField("afn"), intermediate_size=None),
    residual=ResidualSchema(post_ln=True),
    final_norm=False,
    context_length=ConfigField("max_position_embeddings", 512),
    # The published files lack the `transformer.` prefix.
    prefix_aliases=tuple(
        (prefix, f"transformer.{prefix}") for prefix in ("tokens_embed.", "positions_embed.", "h.")
    ),
    unsupported_settings=("quantization_config",),
    weights=(
        WeightMapping("transformer.wte.weight", ("transformer.tokens_embed.weight",)),
        WeightMapping("transformer.wpe.weight", ("transformer.positions_embed.weight",)),
        *linear_tensors("attn.qkv", "attn.c_attn", within=_LAYER, transposed=True),
        *linear_tensors("attn.proj", "attn.c_proj", within=_LAYER, transposed=True),
        *linear_tensors("norm_1", "ln_1", within=_LAYER),
        *linear_tensors("mlp.fc", "mlp.c_fc", within=_LAYER, transposed=True),
        *linear_tensors("mlp.proj", "mlp.c_proj", within=_LAYER, transposed=True),
        *linear_tensors("norm_2", "ln_2", within=_LAYER),
        WeightMapping("lm_head.weight", ("lm_head.weight",)),
    ),
)
