"""Command R: parallel attention and MLP after one LayerNorm, interleaved RoPE, scaled logits.

Command R7B and Command A (`cohere2`): three sliding-window layers to one full-attention layer without RoPE.
Source: Cohere 2024, model cards of c4ai-command-r-v01 and c4ai-command-r7b-12-2024; 2025, arXiv:2504.00698.
"""

import attrs

from litgpt.domain.families.attention import Windows
from litgpt.domain.families.family import Residual
from litgpt.domain.families.feedforward import Gated
from litgpt.domain.families.llama import ATTENTION, BIASED_ATTENTION, GATED, LLAMA, OUTSIDE
from litgpt.domain.families.names import layer_rule
from litgpt.domain.families.norms import LayerNorm, QkNorms
from litgpt.domain.families.rotary import Rope, Unrotated
from litgpt.domain.families.settings import Key

_NORM = LayerNorm(bias=False)

COHERE = attrs.evolve(
    LLAMA,
    model_type="cohere",
    attention=attrs.evolve(
        BIASED_ATTENTION,
        qk_norm=QkNorms(norm=_NORM, over="heads", enabled=Key("use_qk_norm", default=False)),
        rope=Rope(base=Key("rope_theta", 500_000.0), interleaved=True),
    ),
    feed_forward=Gated(),
    norm=_NORM,
    residual=Residual(parallel=True, shared=True),
    logit_scale=Key("logit_scale", 0.0625),
    tied=Key("tie_word_embeddings", default=True),
    context=Key("max_position_embeddings", 8192),
    weights=(
        *OUTSIDE,
        *ATTENTION,
        *GATED,
        layer_rule("norm_1.weight", "input_layernorm.weight"),
        layer_rule("attn.norm_q.weight", "self_attn.q_norm.weight", matrix=True),
        layer_rule("attn.norm_k.weight", "self_attn.k_norm.weight", matrix=True),
    ),
)

COHERE2 = attrs.evolve(
    COHERE,
    model_type="cohere2",
    attention=attrs.evolve(
        BIASED_ATTENTION,
        windows=Windows(
            size=Key("sliding_window", 4096, null=True), pattern=Key("sliding_window_pattern", 4)
        ),
        rope=Rope(interleaved=True, unrotated=Unrotated(kind="full_attention")),
    ),
)
