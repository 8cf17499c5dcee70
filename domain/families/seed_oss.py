"""Seed-OSS: Llama with a QKV bias and a separate setting for the bias of the output projection.

Source: ByteDance Seed Team 2025, "Seed-OSS Open-Source Models".
"""

import attrs

from litgpt.domain.families.attention import SoftmaxAttention
from litgpt.domain.families.llama import LLAMA
from litgpt.domain.families.settings import Key

SEED_OSS = attrs.evolve(
    LLAMA,
    model_type="seed_oss",
    attention=SoftmaxAttention(
        qkv_bias=Key("attention_bias", default=True),
        output_bias=Key("attention_out_bias", default=False),
        groups=Key("num_key_value_heads", 8, null=True),
        head_size=Key("head_dim", 128, null=True),
    ),
    context=Key("max_position_embeddings", 524_288),
)
