"""MiniMax M2: MoE with sigmoid routing, QK-Norm over all heads, RoPE on half of each head.

Source: MiniMax 2025, "MiniMax-M2".
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.attention import SoftmaxAttention
from litgpt.domain.families.feedforward import Gated, Routing, Sparse
from litgpt.domain.families.llama import QK_NORM
from litgpt.domain.families.mistral import MIXTRAL
from litgpt.domain.families.names import layer_rule
from litgpt.domain.families.norms import QkNorms, RmsNorm
from litgpt.domain.families.rotary import Rope
from litgpt.domain.families.settings import Key, Settings

_HEAD_SIZE = Key("head_dim", 128)


def _share(settings: Settings) -> Mapping[str, object]:
    """Return the rotated fraction of a head; published configs have the dimension, `rotary_dim`."""
    if not settings.has("rotary_dim") or settings.has("partial_rotary_factor"):
        return {}
    return {"partial_rotary_factor": settings.integer(Key("rotary_dim")) / settings.integer(_HEAD_SIZE)}


MINIMAX_M2 = attrs.evolve(
    MIXTRAL,
    model_type="minimax_m2",
    derived=_share,
    attention=SoftmaxAttention(
        groups=Key("num_key_value_heads", 8),
        head_size=_HEAD_SIZE,
        qk_norm=QkNorms(over="all"),
        rope=Rope(base=Key("rope_theta", 5_000_000.0), partial=Key("partial_rotary_factor", 1.0)),
    ),
    feed_forward=Sparse(
        count=(Key("num_experts", None), Key("num_local_experts", 256)),
        chosen=Key("num_experts_per_tok", 8),
        expert=Gated(),
        routing=Routing(score="sigmoid", correction=True),
    ),
    norm=RmsNorm(),
    context=Key("max_position_embeddings", 196_608),
    refused=(*MIXTRAL.refused, "shared_intermediate_size"),
    weights=(
        *MIXTRAL.weights,
        *QK_NORM,
        layer_rule("mlp.gate.e_score_correction_bias", "block_sparse_moe.e_score_correction_bias"),
    ),
)
