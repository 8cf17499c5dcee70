"""ERNIE 4.5, dense: Llama with interleaved RoPE.

Source: ERNIE Team, Baidu 2025, "ERNIE 4.5 Technical Report".
"""

import attrs

from litgpt.domain.families.llama import LLAMA
from litgpt.domain.families.schema.attention import AttentionSchema
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.norm import RMSNormSchema
from litgpt.domain.families.schema.rope import RopeSchema

_BIAS = ConfigField("use_bias", default=False)

ERNIE4_5 = attrs.evolve(
    LLAMA,
    model_type="ernie4_5",
    attention=AttentionSchema(
        qkv_bias=_BIAS,
        output_bias=_BIAS,
        num_kv_heads=ConfigField("num_key_value_heads", 2, nullable=True),
        head_dim=ConfigField("head_dim", 128, nullable=True),
        rope=RopeSchema(theta=ConfigField("rope_theta", 500_000.0), interleaved=True),
    ),
    mlp=GatedMLPSchema(bias=_BIAS),
    norm=RMSNormSchema(eps=ConfigField("rms_norm_eps", 1e-5)),
    tie_word_embeddings=ConfigField("tie_word_embeddings", default=True),
    context_length=ConfigField("max_position_embeddings", 131_072),
)
