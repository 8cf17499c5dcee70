"""Hunyuan, dense: Llama with QK-Norm per head after RoPE.

Source: Tencent Hunyuan Team 2025, "Hunyuan-7B".
"""

import attrs

from litgpt.domain.families.feedforward import Gated
from litgpt.domain.families.llama import BIASED_ATTENTION, LLAMA
from litgpt.domain.families.names import linear
from litgpt.domain.families.norms import QkNorms, RmsNorm
from litgpt.domain.families.rotary import Rope
from litgpt.domain.families.settings import Key

_NORM = RmsNorm(eps=Key("rms_norm_eps", 1e-5))

HUNYUAN_V1_DENSE = attrs.evolve(
    LLAMA,
    model_type="hunyuan_v1_dense",
    attention=attrs.evolve(
        BIASED_ATTENTION, qk_norm=QkNorms(norm=_NORM, after_rotary=True), rope=Rope(alpha=True)
    ),
    feed_forward=Gated(),
    norm=_NORM,
    # Cross-layer attention.
    refused=(*LLAMA.refused, "use_cla"),
    weights=(
        *LLAMA.weights,
        *linear("attn.norm_q", "self_attn.query_layernorm"),
        *linear("attn.norm_k", "self_attn.key_layernorm"),
    ),
)
