"""Code World Model: Llama 3 with sliding windows, except in every fourth layer from the first on.

Source: FAIR CodeGen Team 2025, arXiv:2510.02387.
"""

import attrs

from litgpt.domain.families.llama import LLAMA
from litgpt.domain.families.schema.attention import AttentionSchema, SlidingWindowSchema
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.norm import RMSNormSchema
from litgpt.domain.families.schema.rope import RopeSchema, default_rope_parameters

_ROPE_PARAMETERS = {
    "rope_type": "llama3",
    "rope_theta": 1_000_000.0,
    "factor": 16.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}

CWM = attrs.evolve(
    LLAMA,
    model_type="cwm",
    normalize_config=default_rope_parameters(_ROPE_PARAMETERS),
    attention=AttentionSchema(
        num_kv_heads=ConfigField("num_key_value_heads", 8),
        head_dim=ConfigField("head_dim", 128),
        sliding_window=SlidingWindowSchema(
            size=ConfigField("sliding_window", 8192),
            pattern=4,
            full_first=True,
        ),
        rope=RopeSchema(theta=ConfigField("rope_theta", 1_000_000.0)),
    ),
    norm=RMSNormSchema(eps=ConfigField("rms_norm_eps", 1e-5)),
    context_length=ConfigField("max_position_embeddings", 131_072),
)
