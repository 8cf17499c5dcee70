"""ERNIE 4.5, dense: Llama with interleaved RoPE.

Source: ERNIE Team, Baidu 2025, "ERNIE 4.5 Technical Report".
"""

import attrs

from litgpt.domain.families.attention import SoftmaxAttention
from litgpt.domain.families.feedforward import Gated
from litgpt.domain.families.llama import LLAMA
from litgpt.domain.families.norms import RmsNorm
from litgpt.domain.families.rotary import Rope
from litgpt.domain.families.settings import Key

_BIAS = Key("use_bias", default=False)

ERNIE4_5 = attrs.evolve(
    LLAMA,
    model_type="ernie4_5",
    attention=SoftmaxAttention(
        qkv_bias=_BIAS,
        output_bias=_BIAS,
        groups=Key("num_key_value_heads", 2, null=True),
        head_size=Key("head_dim", 128, null=True),
        rope=Rope(base=Key("rope_theta", 500_000.0), interleaved=True),
    ),
    feed_forward=Gated(bias=_BIAS),
    norm=RmsNorm(eps=Key("rms_norm_eps", 1e-5)),
    tied=Key("tie_word_embeddings", default=True),
    context=Key("max_position_embeddings", 131_072),
)
