"""Nemotron: `1 + weight` LayerNorm, RoPE on half of each head, squared ReLU.

Arcee and Jais 2: Llama with the MLP of Nemotron.

Source: Parmar et al. 2024, arXiv:2402.16819; Arcee AI 2025, "AFM-4.5B"; Inception 2025, "Jais 2".
"""

import attrs

from litgpt.domain.families.llama import (
    ATTENTION_WEIGHTS,
    BIASED_ATTENTION,
    EMBEDDING_WEIGHTS,
    LLAMA,
    NORM_WEIGHTS,
)
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.mlp import MLPSchema
from litgpt.domain.families.schema.norm import LayerNormSchema, RMSNormSchema
from litgpt.domain.families.schema.rope import RopeSchema
from litgpt.domain.families.schema.weight_rules import linear_tensors

NEMOTRON = attrs.evolve(
    LLAMA,
    model_type="nemotron",
    attention=attrs.evolve(
        BIASED_ATTENTION, rope=RopeSchema(partial_rotary_factor=ConfigField("partial_rotary_factor", 0.5))
    ),
    mlp=MLPSchema(activation=ConfigField("hidden_act", "relu2"), bias=ConfigField("mlp_bias", default=False)),
    norm=LayerNormSchema(eps=ConfigField("norm_eps", 1e-5), unit_offset=True),
    context_length=ConfigField("max_position_embeddings", 4096),
    weights=(
        *EMBEDDING_WEIGHTS,
        *NORM_WEIGHTS,
        *ATTENTION_WEIGHTS,
        *linear_tensors("mlp.fc", "mlp.up_proj"),
        *linear_tensors("mlp.proj", "mlp.down_proj"),
    ),
)

ARCEE = attrs.evolve(
    NEMOTRON,
    model_type="arcee",
    attention=BIASED_ATTENTION,
    norm=RMSNormSchema(eps=ConfigField("rms_norm_eps", 1e-5)),
)

_BIAS = ConfigField("attention_bias", default=True)

JAIS2 = attrs.evolve(
    NEMOTRON,
    model_type="jais2",
    attention=attrs.evolve(BIASED_ATTENTION, qkv_bias=_BIAS, output_bias=_BIAS),
    mlp=MLPSchema(activation=ConfigField("hidden_act", "relu2"), bias=ConfigField("mlp_bias", default=True)),
    norm=LayerNormSchema(),
    context_length=ConfigField("max_position_embeddings", 8192),
)
