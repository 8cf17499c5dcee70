"""Nemotron: `1 + weight` LayerNorm, RoPE on half of each head, squared ReLU.

Source: Parmar et al. 2024, arXiv:2402.16819.
"""

import attrs

from litgpt.domain.families.feedforward import Plain
from litgpt.domain.families.llama import ATTENTION, BIASED_ATTENTION, LLAMA, NORMS, OUTSIDE
from litgpt.domain.families.names import linear
from litgpt.domain.families.norms import LayerNorm
from litgpt.domain.families.rotary import Rope
from litgpt.domain.families.settings import Key

NEMOTRON = attrs.evolve(
    LLAMA,
    model_type="nemotron",
    attention=attrs.evolve(BIASED_ATTENTION, rope=Rope(partial=Key("partial_rotary_factor", 0.5))),
    feed_forward=Plain(activation=Key("hidden_act", "relu2"), bias=Key("mlp_bias", default=False)),
    norm=LayerNorm(eps=Key("norm_eps", 1e-5), unit_offset=True),
    context=Key("max_position_embeddings", 4096),
    weights=(
        *OUTSIDE,
        *NORMS,
        *ATTENTION,
        *linear("mlp.fc", "mlp.up_proj"),
        *linear("mlp.proj", "mlp.down_proj"),
    ),
)
