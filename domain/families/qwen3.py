"""Qwen 3, dense and MoE: Qwen 2 with QK-Norm per head. The text model of Qwen 3 VL MoE has stacked experts.

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
from litgpt.domain.families.qwen2 import EXPERT_WEIGHTS, SLIDING_WINDOW
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.mlp import GatedMLPSchema, MoESchema, RouterSchema
from litgpt.domain.families.schema.norm import QkNormSchema
from litgpt.domain.families.schema.rope import RopeSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor
from litgpt.domain.weights.mapping import SourceSlice

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
)

_GATE_UP = "mlp.experts.gate_up_proj"

QWEN3_VL_MOE_TEXT = attrs.evolve(
    QWEN3_MOE,
    model_type="qwen3_vl_moe_text",
    attention=attrs.evolve(
        QWEN3_MOE.attention,
        num_kv_heads=ConfigField("num_key_value_heads", 16),
        sliding_window=None,
        rope=RopeSchema(theta=ConfigField("rope_theta", 500_000.0)),
    ),
    mlp=attrs.evolve(
        QWEN3_MOE.mlp,
        num_experts=(ConfigField("num_local_experts", None), ConfigField("num_experts", 60)),
        num_experts_per_token=ConfigField("num_experts_per_tok", 4),
        expert=GatedMLPSchema(intermediate_size=ConfigField("moe_intermediate_size", 1408)),
        router=RouterSchema(norm_topk_prob=True),
    ),
    tie_word_embeddings=ConfigField("tie_word_embeddings", default=True),
    context_length=ConfigField("max_position_embeddings", 128_000),
    weights=(
        *EMBEDDING_WEIGHTS,
        *NORM_WEIGHTS,
        *ATTENTION_WEIGHTS,
        *QK_NORM_WEIGHTS,
        *GATED_MLP_WEIGHTS,
        layer_tensor("mlp.gate.weight", "mlp.gate.weight"),
        layer_tensor(
            "mlp.experts.{}.fc_1.weight", SourceSlice(_GATE_UP, 0, 2), stacked_experts=True, transposed=True
        ),
        layer_tensor(
            "mlp.experts.{}.fc_2.weight", SourceSlice(_GATE_UP, 1, 2), stacked_experts=True, transposed=True
        ),
        layer_tensor(
            "mlp.experts.{}.proj.weight", "mlp.experts.down_proj", stacked_experts=True, transposed=True
        ),
    ),
)
