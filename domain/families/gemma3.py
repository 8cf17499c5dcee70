"""Gemma 3, text: norms before and after, and on queries and keys; five windowed layers to one that sees all.

Source: Gemma Team 2025, arXiv:2503.19786.
"""

import attrs

from litgpt.domain.families.llama import LLAMA, layer_rule
from litgpt.domain.families.recipes import Gated, RmsNorm, SoftmaxAttention, Windows
from litgpt.domain.families.settings import Key

_NORM = RmsNorm(unit_offset=True)

GEMMA3_TEXT = attrs.evolve(
    LLAMA,
    model_type="gemma3_text",
    attention=SoftmaxAttention(
        qkv_bias=Key("attention_bias", default=False),
        output_bias=Key("attention_bias", default=False),
        head_size=Key("head_dim", 256),
        scale_from=Key("query_pre_attn_scalar", 256),
        qk_norm=_NORM,
        windows=Windows(size=Key("sliding_window", 4096), pattern=Key("sliding_window_pattern", 6)),
        rope_base=Key("rope_theta", 1_000_000.0),
        local_base=Key("rope_local_base_freq", 10_000.0),
    ),
    feed_forward=Gated(activation=Key("hidden_activation", "gelu_pytorch_tanh")),
    norm=_NORM,
    norm_after=True,
    scale_embedding=True,
    tied=Key("tie_word_embeddings", default=True),
    context=Key("max_position_embeddings", 131_072),
    refused=(
        *LLAMA.refused,
        "attn_logit_softcapping",
        "final_logit_softcapping",
        "use_bidirectional_attention",
    ),
    weights=(
        *(rule for rule in LLAMA.weights if "norm_2" not in rule.ours),
        layer_rule("attn.norm_q.weight", "self_attn.q_norm.weight"),
        layer_rule("attn.norm_k.weight", "self_attn.k_norm.weight"),
        layer_rule("post_attention_norm.weight", "post_attention_layernorm.weight"),
        layer_rule("norm_2.weight", "pre_feedforward_layernorm.weight"),
        layer_rule("post_mlp_norm.weight", "post_feedforward_layernorm.weight"),
    ),
)
