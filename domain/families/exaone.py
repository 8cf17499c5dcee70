"""EXAONE 4: post-norm, QK-Norm per head, sliding windows, and no RoPE in full-attention layers.

Source: LG AI Research 2025, arXiv:2507.11407.
"""

import attrs

from litgpt.domain.families.attention import SoftmaxAttention, Windows
from litgpt.domain.families.norms import QkNorms, RmsNorm
from litgpt.domain.families.olmo import OLMO2
from litgpt.domain.families.rotary import Rope, Unrotated
from litgpt.domain.families.settings import Key

_WINDOW = Key("sliding_window", 4096, null=True)
_NORM = RmsNorm(eps=Key("rms_norm_eps", 1e-5))

EXAONE4 = attrs.evolve(
    OLMO2,
    model_type="exaone4",
    attention=SoftmaxAttention(
        groups=Key("num_key_value_heads", 32),
        qk_norm=QkNorms(norm=_NORM),
        windows=Windows(size=_WINDOW, pattern=Key("sliding_window_pattern", 4)),
        # EXAONE 4 1.2B has no sliding windows and uses RoPE in all layers.
        rope=Rope(unrotated=Unrotated(kind="full_attention", only_with=_WINDOW)),
    ),
    norm=_NORM,
)
