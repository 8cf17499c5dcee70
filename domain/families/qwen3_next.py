"""Qwen 3 Next and Qwen 3.5: three Gated DeltaNet layers to one layer of gated attention.

Source: Qwen Team 2025, "Qwen3-Next: Towards Ultimate Training & Inference Efficiency".
"""

import attrs

from litgpt.domain.families.attention import SoftmaxAttention
from litgpt.domain.families.feedforward import Gated, Routing, Sparse
from litgpt.domain.families.hybrid import Delta, Hybrid
from litgpt.domain.families.llama import BIAS, GATED, LLAMA, NORMS, OUTSIDE, QK_NORM
from litgpt.domain.families.names import layer_rule, linear
from litgpt.domain.families.norms import QkNorms, RmsNorm
from litgpt.domain.families.qwen2 import EXPERTS, SHARED_EXPERT, STACKED_EXPERTS
from litgpt.domain.families.rotary import Rope
from litgpt.domain.families.settings import Key
from litgpt.domain.weights import Part

_NORM = RmsNorm(unit_offset=True)


def _share(kind: str, number: int) -> Part:
    """Return the queries (0) or their gates (1), which are interleaved by head."""
    return Part(f"self_attn.q_proj.{kind}", number, 2, by_head=True)


_KINDS = ("weight", "bias")
GATED_ATTENTION = (
    *(
        layer_rule(
            f"attn.qkv.{kind}", _share(kind, 0), f"self_attn.k_proj.{kind}", f"self_attn.v_proj.{kind}"
        )
        for kind in _KINDS
    ),
    *(layer_rule(f"attn.gate.{kind}", _share(kind, 1)) for kind in _KINDS),
    *linear("attn.proj", "self_attn.o_proj"),
    *QK_NORM,
)
DELTA = (
    layer_rule("attn.conv.weight", "linear_attn.conv1d.weight"),
    layer_rule("attn.dt_bias", "linear_attn.dt_bias"),
    layer_rule("attn.A_log", "linear_attn.A_log"),
    layer_rule("attn.norm.weight", "linear_attn.norm.weight"),
    layer_rule("attn.out_proj.weight", "linear_attn.out_proj.weight"),
)

_FULL = SoftmaxAttention(
    qkv_bias=BIAS,
    output_bias=BIAS,
    groups=Key("num_key_value_heads", 2),
    head_size=Key("head_dim", 256),
    qk_norm=QkNorms(norm=_NORM),
    rope=Rope(partial=Key("partial_rotary_factor", 0.25)),
    gated=True,
)
_HYBRID = Hybrid(full=_FULL, linear=Delta(), every=Key("full_attention_interval", 4))
_EXPERT = Gated(size=Key("moe_intermediate_size", 512))
_SHARED = Gated(size=Key("shared_expert_intermediate_size", 512))

# Layers for multi-token prediction (training and speculative decoding).
_UNUSED = (*LLAMA.unused, "mtp.*")

QWEN3_NEXT = attrs.evolve(
    LLAMA,
    model_type="qwen3_next",
    attention=_HYBRID,
    feed_forward=Sparse(
        count=(Key("num_experts", 512),),
        expert=_EXPERT,
        chosen=Key("num_experts_per_tok", 10),
        routing=Routing(normalise=Key("norm_topk_prob", default=True)),
        shared=_SHARED,
        shared_gate=True,
        every=Key("decoder_sparse_step", 1),
        never=Key("mlp_only_layers", ()),
    ),
    norm=_NORM,
    context=Key("max_position_embeddings", 32_768),
    unused=_UNUSED,
    weights=(
        *OUTSIDE,
        *NORMS,
        *GATED_ATTENTION,
        *DELTA,
        layer_rule("attn.qkvz.weight", "linear_attn.in_proj_qkvz.weight", by_group=True),
        layer_rule("attn.ba.weight", "linear_attn.in_proj_ba.weight", by_group=True),
        *GATED,
        *EXPERTS,
        *SHARED_EXPERT,
    ),
)

QWEN3_5_TEXT = attrs.evolve(
    QWEN3_NEXT,
    model_type="qwen3_5_text",
    attention=attrs.evolve(_HYBRID, full=attrs.evolve(_FULL, groups=Key("num_key_value_heads", 4))),
    feed_forward=Gated(),
    prefixes=(("model.language_model.", "model."),),
    unused=(*_UNUSED, "model.visual.*"),
    weights=(
        *OUTSIDE,
        *NORMS,
        *GATED_ATTENTION,
        *DELTA,
        layer_rule(
            "attn.qkvz.weight",
            "linear_attn.in_proj_qkv.weight",
            "linear_attn.in_proj_z.weight",
            spans=(3, 1),
        ),
        layer_rule("attn.ba.weight", "linear_attn.in_proj_b.weight", "linear_attn.in_proj_a.weight"),
        *GATED,
    ),
)

QWEN3_5_MOE_TEXT = attrs.evolve(
    QWEN3_5_TEXT,
    model_type="qwen3_5_moe_text",
    attention=_HYBRID,
    feed_forward=Sparse(
        count=(Key("num_experts", 256),),
        expert=_EXPERT,
        chosen=Key("num_experts_per_tok", 8),
        shared=_SHARED,
        shared_gate=True,
    ),
    weights=(*QWEN3_5_TEXT.weights, *STACKED_EXPERTS, *SHARED_EXPERT),
    otherwise=EXPERTS,
)
