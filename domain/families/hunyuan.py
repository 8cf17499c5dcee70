"""Hunyuan, dense: Llama with QK-Norm per head after RoPE.

Source: Tencent Hunyuan Team 2025, "Hunyuan-7B".
"""

import attrs

from litgpt.domain.families.llama import BIASED_ATTENTION, LLAMA
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.norm import QkNormSchema, RMSNormSchema
from litgpt.domain.families.schema.rope import RopeSchema
from litgpt.domain.families.schema.weight_rules import linear_tensors

_NORM = RMSNormSchema(eps=ConfigField("rms_norm_eps", 1e-5))

HUNYUAN_V1_DENSE = attrs.evolve(
    LLAMA,
    model_type="hunyuan_v1_dense",
    attention=attrs.evolve(
        BIASED_ATTENTION, qk_norm=QkNormSchema(norm=_NORM, after_rope=True), rope=RopeSchema(ntk_alpha=True)
    ),
    mlp=GatedMLPSchema(),
    norm=_NORM,
    # Cross-layer attention.
    unsupported_settings=(*LLAMA.unsupported_settings, "use_cla"),
    weights=(
        *LLAMA.weights,
        *linear_tensors("attn.norm_q", "self_attn.query_layernorm"),
        *linear_tensors("attn.norm_k", "self_attn.key_layernorm"),
    ),
)
