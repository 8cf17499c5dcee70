"""Gemma 1 to 3, text: `1 + weight` norms, a scaled and tied embedding.

Gemma 2 adds post-norms, soft caps, and sliding windows in every other layer. Gemma 3 replaces the caps by
QK-Norm and has five sliding-window layers to one full-attention layer.
Source: Gemma Team 2024, arXiv:2403.08295 and arXiv:2408.00118; 2025, arXiv:2503.19786.
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.attention import Windows
from litgpt.domain.families.family import Residual
from litgpt.domain.families.feedforward import Gated
from litgpt.domain.families.llama import ATTENTION, BIASED_ATTENTION, GATED, LLAMA, OUTSIDE, QK_NORM
from litgpt.domain.families.names import linear
from litgpt.domain.families.norms import QkNorms, RmsNorm
from litgpt.domain.families.rotary import Rope
from litgpt.domain.families.settings import Key, Settings

_NORM = RmsNorm(unit_offset=True)

_ATTENTION = attrs.evolve(BIASED_ATTENTION, head_size=Key("head_dim", 256))
_ATTENTION_2 = attrs.evolve(
    _ATTENTION,
    scale_from=Key("query_pre_attn_scalar", 256),
    windows=Windows(size=Key("sliding_window", 4096), pattern=Key("sliding_window_pattern", 2)),
    cap=Key("attn_logit_softcapping", 50.0, null=True),
)
_ATTENTION_3 = attrs.evolve(
    _ATTENTION_2,
    qk_norm=QkNorms(norm=_NORM),
    windows=Windows(size=Key("sliding_window", 4096), pattern=Key("sliding_window_pattern", 6)),
    rope=Rope(base=Key("rope_theta", 1_000_000.0), local_base=Key("rope_local_base_freq", 10_000.0)),
    cap=Key("attn_logit_softcapping", None),
)

GEMMA = attrs.evolve(
    LLAMA,
    model_type="gemma",
    called={"hidden_act": "hidden_activation"},
    attention=_ATTENTION,
    feed_forward=Gated(activation=Key("hidden_act", "gelu_pytorch_tanh")),
    norm=_NORM,
    scale_embedding=True,
    tied=Key("tie_word_embeddings", default=True),
    context=Key("max_position_embeddings", 8192),
    refused=(*LLAMA.refused, "use_bidirectional_attention"),
)

GEMMA2 = attrs.evolve(
    GEMMA,
    model_type="gemma2",
    attention=_ATTENTION_2,
    residual=Residual(after=True),
    logit_cap=Key("final_logit_softcapping", 30.0, null=True),
    weights=(
        *OUTSIDE,
        *ATTENTION,
        *GATED,
        *linear("norm_1", "input_layernorm"),
        *linear("post_attention_norm", "post_attention_layernorm"),
        *linear("norm_2", "pre_feedforward_layernorm"),
        *linear("post_mlp_norm", "post_feedforward_layernorm"),
    ),
)

# The text config of multimodal Gemma 3 omits all settings with default values, sizes included.
_USUAL = {"num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": 262_208}


def _derived(settings: Settings) -> Mapping[str, object]:
    return {name: settings.get(Key(name, usual)) for name, usual in _USUAL.items()}


GEMMA3_TEXT = attrs.evolve(
    GEMMA2,
    model_type="gemma3_text",
    derived=_derived,
    attention=_ATTENTION_3,
    logit_cap=Key("final_logit_softcapping", None),
    context=Key("max_position_embeddings", 131_072),
    weights=(*GEMMA2.weights, *QK_NORM),
)
