"""OLMo: norms without weights, bounded projections. OLMo 2: norms after, and on all of Q and K.

Source: Groeneveld et al. 2024, arXiv:2402.00838; OLMo Team 2024, arXiv:2501.00656.
"""

import attrs

from litgpt.domain.families.family import Residual
from litgpt.domain.families.feedforward import Gated
from litgpt.domain.families.llama import ATTENTION, BIASED_ATTENTION, GATED, LLAMA, OUTSIDE, QK_NORM
from litgpt.domain.families.names import linear
from litgpt.domain.families.norms import LayerNorm, QkNorms, RmsNorm
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
