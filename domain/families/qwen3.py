"""Qwen 3, dense and MoE: Qwen 2 with QK-Norm per head.

Source: Yang et al. 2025, arXiv:2505.09388.
"""

import attrs

from litgpt.domain.families.feedforward import Gated, Routing, Sparse
from litgpt.domain.families.llama import ATTENTION, BIASED_ATTENTION, GATED, LLAMA, NORMS, OUTSIDE, QK_NORM
from litgpt.domain.families.norms import QkNorms
from litgpt.domain.families.qwen2 import EXPERTS, WINDOWS
from litgpt.domain.families.settings import Key

_ATTENTION = attrs.evolve(
    BIASED_ATTENTION, head_size=Key("head_dim", 128), qk_norm=QkNorms(), windows=WINDOWS
)

QWEN3 = attrs.evolve(
    LLAMA,
    model_type="qwen3",
    attention=_ATTENTION,
    feed_forward=Gated(),
    weights=(*LLAMA.weights, *QK_NORM),
)

QWEN3_MOE = attrs.evolve(
    QWEN3,
    model_type="qwen3_moe",
    # Unlike the dense models, the default head dimension is the hidden size over the number of heads.
    attention=attrs.evolve(_ATTENTION, head_size=Key("head_dim", None)),
    feed_forward=Sparse(
        routing=Routing(normalise=Key("norm_topk_prob", default=False)),
        every=Key("decoder_sparse_step", 1),
        never=Key("mlp_only_layers", ()),
    ),
    weights=(*OUTSIDE, *NORMS, *ATTENTION, *QK_NORM, *GATED, *EXPERTS),
)
