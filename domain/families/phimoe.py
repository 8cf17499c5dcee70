"""Phi-3.5-MoE: Mixtral with LayerNorm, LongRoPE and SparseMixer routing.

Source: Abdin et al. 2024, arXiv:2404.14219.
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.attention import SoftmaxAttention, Windows
from litgpt.domain.families.feedforward import Gated, Routing, Sparse
from litgpt.domain.families.mistral import MIXTRAL
from litgpt.domain.families.norms import LayerNorm
from litgpt.domain.families.rotary import Rope
from litgpt.domain.families.settings import Key, Settings

_BIAS = Key("attention_bias", default=False)


def _two_experts(settings: Settings) -> Mapping[str, object]:
    """Refuse other numbers of experts per token: SparseMixer routing selects two."""
    experts_per_token = settings.get(Key("num_experts_per_tok", 2))
    if experts_per_token != 2:
        raise settings.refuse("num_experts_per_tok", experts_per_token)
    return {}


PHIMOE = attrs.evolve(
    MIXTRAL,
    model_type="phimoe",
    derived=_two_experts,
    attention=SoftmaxAttention(
        qkv_bias=_BIAS,
        output_bias=_BIAS,
        groups=Key("num_key_value_heads", 8),
        windows=Windows(size=Key("sliding_window", None)),
        rope=Rope(base=Key("rope_theta", 1_000_000.0), magnitudes=True),
    ),
    feed_forward=Sparse(
        count=(Key("num_local_experts", 16),),
        chosen=Key("num_experts_per_tok", 2),
        expert=Gated(),
        routing=Routing(score="sparsemixer", jitter=Key("router_jitter_noise", 0.01)),
    ),
    norm=LayerNorm(eps=Key("rms_norm_eps", 1e-5)),
    head_bias=Key("lm_head_bias", default=False),
)
