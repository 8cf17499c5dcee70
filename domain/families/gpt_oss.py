"""gpt-oss: MoE with biases and clamped SwiGLU, attention sinks, sliding windows in every other layer.

Source: OpenAI 2025, arXiv:2508.10925.
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.attention import SoftmaxAttention, Windows
from litgpt.domain.families.feedforward import Bounding, Gated, Routing, Sparse
from litgpt.domain.families.llama import ATTENTION, LLAMA, NORMS, OUTSIDE
from litgpt.domain.families.names import layer_rule, linear
from litgpt.domain.families.norms import RmsNorm
from litgpt.domain.families.rotary import Rope
from litgpt.domain.families.settings import Key, Settings
from litgpt.domain.weights import Part

_BIAS = Key("attention_bias", default=True)
_STRETCHED = {
    "rope_type": "yarn",
    "factor": 32.0,
    "truncate": False,
    "original_max_position_embeddings": 4096,
}


def _derived(settings: Settings) -> Mapping[str, object]:
    """Return the default RoPE scaling if the config sets none."""
    has_scaling = settings.has("rope_parameters") or settings.has("rope_scaling")
    return {} if has_scaling else {"rope_scaling": _STRETCHED}


def _half(name: str, number: int) -> Part:
    """Return the gate (0) or up (1) projection, whose rows are interleaved in one tensor."""
    return Part(f"mlp.experts.{name}", number, 2, alternating=True)


GPT_OSS = attrs.evolve(
    LLAMA,
    model_type="gpt_oss",
    derived=_derived,
    attention=SoftmaxAttention(
        qkv_bias=_BIAS,
        output_bias=_BIAS,
        groups=Key("num_key_value_heads", 8),
        head_size=Key("head_dim", 64),
        windows=Windows(size=Key("sliding_window", 128, null=True), pattern=Key("sliding_window_pattern", 2)),
        rope=Rope(base=Key("rope_theta", 150_000.0)),
        sinks=True,
    ),
    feed_forward=Sparse(
        count=(Key("num_local_experts", 128),),
        chosen=Key("num_experts_per_tok", 4),
        expert=Gated(
            bias=True,
            bounds=Bounding(limit=Key("swiglu_limit", 7.0), sharpness=Key("swiglu_alpha", 1.702)),
        ),
        routing=Routing(score="softmax_of_chosen", bias=True),
    ),
    norm=RmsNorm(eps=Key("rms_norm_eps", 1e-5)),
    context=Key("max_position_embeddings", 131_072),
    weights=(
        *OUTSIDE,
        *NORMS,
        *ATTENTION,
        layer_rule("attn.sinks", "self_attn.sinks"),
        *linear("mlp.gate", "mlp.router"),
        layer_rule("mlp.experts.{}.fc_1.weight", _half("gate_up_proj", 0), stacked=True, transposed=True),
        layer_rule("mlp.experts.{}.fc_2.weight", _half("gate_up_proj", 1), stacked=True, transposed=True),
        layer_rule("mlp.experts.{}.proj.weight", "mlp.experts.down_proj", stacked=True, transposed=True),
        layer_rule("mlp.experts.{}.fc_1.bias", _half("gate_up_proj_bias", 0), stacked=True),
        layer_rule("mlp.experts.{}.fc_2.bias", _half("gate_up_proj_bias", 1), stacked=True),
        layer_rule("mlp.experts.{}.proj.bias", "mlp.experts.down_proj_bias", stacked=True),
    ),
)
