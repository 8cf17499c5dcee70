"""Helium: Llama with interleaved RoPE.

Source: Kyutai 2025, model card of helium-1-2b.
"""

import attrs

from litgpt.domain.families.llama import ATTENTION_BIAS, LLAMA
from litgpt.domain.families.schema.attention import AttentionSchema
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.norm import RMSNormSchema
from litgpt.domain.families.schema.rope import RopeSchema

HELIUM = attrs.evolve(
    LLAMA,
    model_type="helium",
    attention=AttentionSchema(
        qkv_bias=ATTENTION_BIAS,
        num_kv_heads=ConfigField("num_key_value_heads", 20),
        head_dim=ConfigField("head_dim", 128),
        rope=RopeSchema(theta=ConfigField("rope_theta", 100_000.0), interleaved=True),
    ),
    norm=RMSNormSchema(eps=ConfigField("rms_norm_eps", 1e-8)),
    context_length=ConfigField("max_position_embeddings", 4096),
)
