"""StarCoder 2: Llama's attention with LayerNorm, non-gated MLPs and biases everywhere.

Source: Lozhkov et al. 2024, arXiv:2402.19173.
"""

import attrs

from litgpt.domain.families.attention import SoftmaxAttention, Windows
from litgpt.domain.families.feedforward import Plain
from litgpt.domain.families.llama import ATTENTION, LLAMA, NORMS, OUTSIDE
from litgpt.domain.families.names import linear
from litgpt.domain.families.norms import LayerNorm
from litgpt.domain.families.settings import Key

_BIAS = Key("use_bias", default=True)

STARCODER2 = attrs.evolve(
    LLAMA,
    model_type="starcoder2",
    attention=SoftmaxAttention(
        qkv_bias=_BIAS,
        output_bias=_BIAS,
        groups=Key("num_key_value_heads", 2),
        windows=Windows(size=Key("sliding_window", None)),
    ),
    feed_forward=Plain(activation=Key("hidden_act", "gelu_pytorch_tanh"), bias=_BIAS),
    norm=LayerNorm(eps=Key("norm_epsilon", 1e-5)),
    tied=Key("tie_word_embeddings", default=True),
    context=Key("max_position_embeddings", 4096),
    weights=(
        *OUTSIDE,
        *NORMS,
        *ATTENTION,
        *linear("mlp.fc", "mlp.c_fc"),
        *linear("mlp.proj", "mlp.c_proj"),
    ),
)
