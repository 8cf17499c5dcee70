"""Mistral: Llama with optional sliding windows in every layer. Mixtral: the same with experts.

Ministral 3: Mistral with an attention temperature.

Source: Jiang et al. 2023, arXiv:2310.06825; Jiang et al. 2024, arXiv:2401.04088.
"""

import attrs

from litgpt.domain.architecture import QueryScaling
from litgpt.domain.families.attention import SoftmaxAttention, Windows
from litgpt.domain.families.feedforward import Gated, Sparse
from litgpt.domain.families.llama import ATTENTION, LLAMA, NORMS, OUTSIDE
from litgpt.domain.families.names import layer_rule
from litgpt.domain.families.norms import RmsNorm
from litgpt.domain.families.settings import Key, Settings

_ATTENTION = SoftmaxAttention(
    groups=Key("num_key_value_heads", 8, null=True),
    windows=Windows(size=Key("sliding_window", 4096, null=True)),
)

MISTRAL = attrs.evolve(
    LLAMA,
    model_type="mistral",
    attention=_ATTENTION,
    feed_forward=Gated(),
    context=Key("max_position_embeddings", 131_072),
)

MIXTRAL = attrs.evolve(
    MISTRAL,
    model_type="mixtral",
    attention=attrs.evolve(_ATTENTION, windows=Windows(size=Key("sliding_window", None))),
    feed_forward=Sparse(
        count=(Key("num_local_experts", 8),),
        chosen=Key("num_experts_per_tok", 2),
        expert=Gated(),
    ),
    norm=RmsNorm(eps=Key("rms_norm_eps", 1e-5)),
    weights=(
        *OUTSIDE,
        *NORMS,
        *ATTENTION,
        layer_rule("mlp.gate.weight", "block_sparse_moe.gate.weight"),
        layer_rule("mlp.experts.{}.fc_1.weight", "block_sparse_moe.experts.{}.w1.weight"),
        layer_rule("mlp.experts.{}.fc_2.weight", "block_sparse_moe.experts.{}.w3.weight"),
        layer_rule("mlp.experts.{}.proj.weight", "block_sparse_moe.experts.{}.w2.weight"),
    ),
)


def _growth(settings: Settings) -> QueryScaling | None:
    """Return Ministral 3's attention temperature, which its RoPE settings include."""
    rope = attrs.evolve(
        settings,
        values=settings.mapping(Key("rope_parameters")) or settings.mapping(Key("rope_scaling")),
    )
    beta = rope.optional(Key("llama_4_scaling_beta", None))
    if beta is None:
        return None
    return QueryScaling(beta=beta, every=rope.integer(Key("original_max_position_embeddings")))


MINISTRAL3 = attrs.evolve(
    MISTRAL,
    model_type="ministral3",
    attention=SoftmaxAttention(
        groups=Key("num_key_value_heads", 8, null=True),
        head_size=Key("head_dim", 128, null=True),
        windows=Windows(size=Key("sliding_window", None)),
        query_scaling=_growth,
    ),
    norm=RmsNorm(eps=Key("rms_norm_eps", 1e-5)),
    context=Key("max_position_embeddings", 262_144),
)
