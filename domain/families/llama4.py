"""Llama 4: chunked attention, full-attention layers without RoPE (NoPE), and MoE with a shared expert.

Source: Meta 2025, "The Llama 4 herd"; Nakanishi 2025, arXiv:2501.19399, for the attention temperature.
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.architecture import QueryScaling
from litgpt.domain.families.attention import SoftmaxAttention, Windows
from litgpt.domain.families.feedforward import Gated, Routing, Sparse
from litgpt.domain.families.llama import ATTENTION, BIAS, LLAMA, NORMS, OUTSIDE
from litgpt.domain.families.names import layer_rule
from litgpt.domain.families.norms import QkNorms, RmsNorm
from litgpt.domain.families.rotary import Rope, Unrotated
from litgpt.domain.families.settings import Key, Settings
from litgpt.domain.weights import Part

_NORM = RmsNorm(eps=Key("rms_norm_eps", 1e-5))


def _derived(settings: Settings) -> Mapping[str, object]:
    """Return which layers use RoPE, chunked attention and experts, with transformers' defaults."""
    layers = range(1, settings.integer(Key("num_hidden_layers")) + 1)
    every = settings.integer(Key("no_rope_layer_interval", 4))
    step = settings.integer(Key("interleave_moe_layer_step", 1))
    rotated = settings.get(Key("no_rope_layers", None)) or [int(number % every != 0) for number in layers]
    kinds = ["chunked_attention" if has_rope else "full_attention" for has_rope in rotated]
    moe_layers = [number - 1 for number in layers if number % step == 0]
    return {
        "no_rope_layers": rotated,
        "layer_types": settings.get(Key("layer_types", kinds)),
        "moe_layers": settings.get(Key("moe_layers", moe_layers)),
    }


def _growth(settings: Settings) -> QueryScaling | None:
    if not settings.get(Key("attn_temperature_tuning", default=True)):
        return None
    return QueryScaling(
        beta=settings.number(Key("attn_scale", 0.1)),
        every=settings.integer(Key("floor_scale", 8192)),
        ahead=1,
    )


_UNROTATED = SoftmaxAttention(
    qkv_bias=BIAS,
    output_bias=BIAS,
    groups=Key("num_key_value_heads", 8),
    head_size=Key("head_dim", 128),
    windows=Windows(size=Key("attention_chunk_size", 8192, null=True), chunked=True),
    rope=None,
    query_scaling=_growth,
)

LLAMA4_TEXT = attrs.evolve(
    LLAMA,
    model_type="llama4_text",
    derived=_derived,
    attention=attrs.evolve(
        _UNROTATED,
        qk_norm=QkNorms(
            norm=attrs.evolve(_NORM, weight=False),
            after_rotary=True,
            enabled=Key("use_qk_norm", default=True),
        ),
        rope=Rope(
            base=Key("rope_theta", 500_000.0),
            interleaved=True,
            unrotated=Unrotated(listed=Key("no_rope_layers")),
        ),
        query_scaling=None,
        unrotated=_UNROTATED,
    ),
    feed_forward=Sparse(
        count=(Key("num_local_experts", 16),),
        chosen=Key("num_experts_per_tok", 1),
        expert=Gated(size=Key("intermediate_size", 8192)),
        routing=Routing(score="sigmoid", normalise=False, before=True),
        shared=Gated(size=Key("intermediate_size", 8192)),
        dense=Gated(size=Key("intermediate_size_mlp", 16_384)),
        listed=Key("moe_layers"),
    ),
    norm=_NORM,
    context=Key("max_position_embeddings", 131_072),
    weights=(
        *OUTSIDE,
        *NORMS,
        *ATTENTION,
        layer_rule("mlp.fc_1.weight", "feed_forward.gate_proj.weight"),
        layer_rule("mlp.fc_2.weight", "feed_forward.up_proj.weight"),
        layer_rule("mlp.proj.weight", "feed_forward.down_proj.weight"),
        layer_rule("mlp.gate.weight", "feed_forward.router.weight"),
        layer_rule(
            "mlp.experts.{}.fc_1.weight",
            Part("feed_forward.experts.gate_up_proj", 0, 2),
            stacked=True,
            transposed=True,
        ),
        layer_rule(
            "mlp.experts.{}.fc_2.weight",
            Part("feed_forward.experts.gate_up_proj", 1, 2),
            stacked=True,
            transposed=True,
        ),
        layer_rule(
            "mlp.experts.{}.proj.weight", "feed_forward.experts.down_proj", stacked=True, transposed=True
        ),
        layer_rule("mlp.shared_experts.fc_1.weight", "feed_forward.shared_expert.gate_proj.weight"),
        layer_rule("mlp.shared_experts.fc_2.weight", "feed_forward.shared_expert.up_proj.weight"),
        layer_rule("mlp.shared_experts.proj.weight", "feed_forward.shared_expert.down_proj.weight"),
    ),
)
