"""Aria, text: Llama with experts, whose weights are stacked in one tensor, and shared experts.

Source: Li et al. 2024, arXiv:2410.05993.
"""

import attrs

from litgpt.domain.families.deepseek import SHARED_EXPERT_WEIGHTS
from litgpt.domain.families.llama import ATTENTION_WEIGHTS, EMBEDDING_WEIGHTS, LLAMA, NORM_WEIGHTS
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema, RouterSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor
from litgpt.domain.weights.mapping import SourceSlice

_SIZE = ConfigField("intermediate_size", 4096)
_GATE_UP = "mlp.experts.fc1.weight"

ARIA_TEXT = attrs.evolve(
    LLAMA,
    model_type="aria_text",
    attribute_map={"num_experts": "moe_num_experts", "num_experts_per_tok": "moe_topk"},
    mlp=MoESchema(
        num_experts=(ConfigField("num_experts", 8),),
        num_experts_per_token=ConfigField("num_experts_per_tok", 2),
        expert=GatedMLPSchema(intermediate_size=_SIZE, activation="silu"),
        router=RouterSchema(scoring_func="softmax_after_topk"),
        shared_expert=GatedMLPSchema(intermediate_size=_SIZE, bias=ConfigField("mlp_bias", default=False)),
        num_shared_experts=ConfigField("moe_num_shared_experts", 2),
    ),
    weights=(
        *EMBEDDING_WEIGHTS,
        *NORM_WEIGHTS,
        *ATTENTION_WEIGHTS,
        layer_tensor("mlp.gate.weight", "mlp.router.weight"),
        layer_tensor(
            "mlp.experts.{}.fc_1.weight", SourceSlice(_GATE_UP, 0, 2), stacked_experts=True, transposed=True
        ),
        layer_tensor(
            "mlp.experts.{}.fc_2.weight", SourceSlice(_GATE_UP, 1, 2), stacked_experts=True, transposed=True
        ),
        layer_tensor(
            "mlp.experts.{}.proj.weight", "mlp.experts.fc2.weight", stacked_experts=True, transposed=True
        ),
        *SHARED_EXPERT_WEIGHTS,
    ),
)
