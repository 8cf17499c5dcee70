"""EXAONE 4: post-norm, QK-Norm per head, sliding windows, and no RoPE in full-attention layers.

Source: LG AI Research 2025, arXiv:2507.11407.
"""

import attrs

from litgpt.domain.families.olmo import OLMO2
from litgpt.domain.families.schema.attention import AttentionSchema, SlidingWindowSchema
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.norm import QkNormSchema, RMSNormSchema
from litgpt.domain.families.schema.rope import NoPE, RopeSchema

_WINDOW = ConfigField("sliding_window", 4096, nullable=True)
_NORM = RMSNormSchema(eps=ConfigField("rms_norm_eps", 1e-5))

EXAONE4 = attrs.evolve(
    OLMO2,
    model_type="exaone4",
    attention=AttentionSchema(
        num_kv_heads=ConfigField("num_key_value_heads", 32),
        qk_norm=QkNormSchema(norm=_NORM),
        sliding_window=SlidingWindowSchema(size=_WINDOW, pattern=ConfigField("sliding_window_pattern", 4)),
        # EXAONE 4 1.2B has no sliding windows and uses RoPE in all layers.
        rope=RopeSchema(nope_layers=NoPE(layer_type="full_attention", requires=_WINDOW)),
    ),
    norm=_NORM,
)
