"""OLMo: norms without weights. OLMo 2: post-norm, QK-Norm over all heads. OLMo 3: also sliding windows.

Source: Groeneveld et al. 2024, arXiv:2402.00838; OLMo Team 2024, arXiv:2501.00656; Team OLMo 2025, "Olmo 3".
"""

import attrs

from litgpt.domain.families.attention import Windows
from litgpt.domain.families.family import Residual
from litgpt.domain.families.feedforward import Gated
from litgpt.domain.families.llama import ATTENTION, BIASED_ATTENTION, GATED, LLAMA, OUTSIDE, QK_NORM
from litgpt.domain.families.names import linear
from litgpt.domain.families.norms import LayerNorm, QkNorms, RmsNorm
from litgpt.domain.families.rotary import Rope
from litgpt.domain.families.settings import Key

OLMO = attrs.evolve(
    LLAMA,
    model_type="olmo",
    attention=attrs.evolve(BIASED_ATTENTION, clip=Key("clip_qkv", None)),
    feed_forward=Gated(),
    norm=LayerNorm(eps=1e-5, weight=False, bias=False),
)

_NORM = RmsNorm(eps=Key("rms_norm_eps", 1e-5))

OLMO2 = attrs.evolve(
    LLAMA,
    model_type="olmo2",
    attention=attrs.evolve(BIASED_ATTENTION, qk_norm=QkNorms(norm=_NORM, over="all")),
    feed_forward=Gated(),
    norm=_NORM,
    residual=Residual(before=False, after=True),
    weights=(
        *OUTSIDE,
        *ATTENTION,
        *QK_NORM,
        *GATED,
        *linear("post_attention_norm", "post_attention_layernorm"),
        *linear("post_mlp_norm", "post_feedforward_layernorm"),
    ),
)

OLMO3 = attrs.evolve(
    OLMO2,
    model_type="olmo3",
    attention=attrs.evolve(
        BIASED_ATTENTION,
        qk_norm=QkNorms(norm=_NORM, over="all"),
        windows=Windows(size=Key("sliding_window", 4096), pattern=Key("sliding_window_pattern", 4)),
        # RoPE scaling applies only to the full-attention layers.
        rope=Rope(base=Key("rope_theta", 500_000.0), local_base=Key("rope_theta", 500_000.0)),
    ),
)
