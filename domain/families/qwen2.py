"""Qwen 2 and 2.5: Llama with a bias on queries, keys and values, and windows if asked for.

Source: Yang et al. 2024, arXiv:2407.10671.
"""

import attrs

from litgpt.domain.families.attention import SoftmaxAttention, Windows
from litgpt.domain.families.feedforward import Gated
from litgpt.domain.families.llama import LLAMA
from litgpt.domain.families.settings import Key

WINDOWS = Windows(
    size=Key("sliding_window", 4096, null=True),
    enabled=Key("use_sliding_window", default=False),
    first=Key("max_window_layers", 28),
)

QWEN2 = attrs.evolve(
    LLAMA,
    model_type="qwen2",
    attention=SoftmaxAttention(qkv_bias=True, windows=WINDOWS),
    feed_forward=Gated(),
)
