"""Qwen 3, dense and MoE: Qwen 2 with QK-Norm per head.

Source: Yang et al. 2025, arXiv:2505.09388.
"""

import attrs

from litgpt.domain.families.llama import (
    ATTENTION_WEIGHTS,
    BIASED_ATTENTION,
    EMBEDDING_WEIGHTS,
    GATED_MLP_WEIGHTS,
    LLAMA,
    NORM_WEIGHTS,
    QK_NORM_WEIGHTS,
)
from litgpt.domain.families.qwen2 import EXPERT_WEIGHTS, SLIDING_WINDOW, STACKED_EXPERT_WEIGHTS
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema, RouterSchema
from litgpt.domain.families.schema.norm import QkNormSchema

_ATTENTION = attrs.evolve(
    BIASED_ATTENTION,
    head_dim=ConfigField("head_dim", 128),
    qk_norm=QkNormSchema(),
    sliding_window=SLIDING_WINDOW,
)

QWEN3 = attrs.evolve(
    LLAMA,
    model_type="qwen3",
    attention=_ATTENTION,
    mlp=GatedMLPSchema(),
    weights=(*LLAMA.weights, *QK_NORM_WEIGHTS),
)

QWEN3_MOE = attrs.evolve(
    QWEN3,
    model_type="qwen3_moe",
    # Unlike the dense models, the default head dimension is the hidden size over the number of heads.
    attention=attrs.evolve(_ATTENTION, head_dim=ConfigField("head_dim", None)),
    mlp=MoESchema(
        router=RouterSchema(norm_topk_prob=ConfigField("norm_topk_prob", default=False)),
        moe_every=ConfigField("decoder_sparse_step", 1),
        mlp_only_layers=ConfigField("mlp_only_layers", ()),
    ),
    weights=(
        *EMBEDDING_WEIGHTS,
        *NORM_WEIGHTS,
        *ATTENTION_WEIGHTS,
        *QK_NORM_WEIGHTS,
        *GATED_MLP_WEIGHTS,
        *EXPERT_WEIGHTS,
    ),
    # The experts of Qwen 3 VL, in files that transformers has written and in the published ones.
    alternative_weights=STACKED_EXPERT_WEIGHTS[1:],
    transposed_weights=tuple(attrs.evolve(rule, transposed=True) for rule in STACKED_EXPERT_WEIGHTS[1:]),
)
