"""Apertus: QK-Norm per head, and non-gated MLPs with the trained activation xIELU.

Source: Project Apertus 2025, arXiv:2509.14233.
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.feedforward import Plain
from litgpt.domain.families.llama import ATTENTION, BIASED_ATTENTION, LLAMA, OUTSIDE, QK_NORM
from litgpt.domain.families.names import layer_rule, linear
from litgpt.domain.families.norms import QkNorms, RmsNorm
from litgpt.domain.families.rotary import Rope
from litgpt.domain.families.settings import Key, Settings

_NORM = RmsNorm(eps=Key("rms_norm_eps", 1e-5))
_STRETCHED = {
    "rope_type": "llama3",
    "rope_theta": 12_000_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def _derived(settings: Settings) -> Mapping[str, object]:
    """Return the default RoPE scaling if the config sets none."""
    has_scaling = settings.has("rope_parameters") or settings.mapping(Key("rope_scaling"))
    return {} if has_scaling else {"rope_parameters": _STRETCHED}


APERTUS = attrs.evolve(
    LLAMA,
    model_type="apertus",
    derived=_derived,
    attention=attrs.evolve(
        BIASED_ATTENTION, qk_norm=QkNorms(norm=_NORM), rope=Rope(base=Key("rope_theta", 12_000_000.0))
    ),
    feed_forward=Plain(
        activation=Key("hidden_act", "xielu"), bias=False, size=Key("intermediate_size", 14336), learnt=True
    ),
    norm=_NORM,
    context=Key("max_position_embeddings", 65_536),
    refused=(*LLAMA.refused, "mlp_bias", "post_norm"),
    weights=(
        *OUTSIDE,
        *linear("norm_1", "attention_layernorm"),
        *linear("norm_2", "feedforward_layernorm"),
        *ATTENTION,
        *QK_NORM,
        *linear("mlp.fc", "mlp.up_proj"),
        *linear("mlp.proj", "mlp.down_proj"),
        layer_rule("mlp.activation.alpha_p", "mlp.act_fn.alpha_p"),
        layer_rule("mlp.activation.alpha_n", "mlp.act_fn.alpha_n"),
        layer_rule("mlp.activation.beta", "mlp.act_fn.beta", number=True),
        layer_rule("mlp.activation.eps", "mlp.act_fn.eps", number=True),
    ),
)
