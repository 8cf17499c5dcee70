"""Seed-OSS: Llama with a QKV bias and a separate setting for the bias of the output projection.

Source: ByteDance Seed Team 2025, "Seed-OSS Open-Source Models".
"""

import attrs

from litgpt.domain.families.llama import LLAMA
from litgpt.domain.families.schema.attention import AttentionSchema
from litgpt.domain.families.schema.hf_config import ConfigField

SEED_OSS = attrs.evolve(
    LLAMA,
    model_type="seed_oss",
    attention=AttentionSchema(
        qkv_bias=ConfigField("attention_bias", default=True),
        output_bias=ConfigField("attention_out_bias", default=False),
        num_kv_heads=ConfigField("num_key_value_heads", 8, nullable=True),
        head_dim=ConfigField("head_dim", 128, nullable=True),
    ),
    context_length=ConfigField("max_position_embeddings", 524_288),
)
