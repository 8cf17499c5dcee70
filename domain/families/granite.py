"""Granite 3: Llama with multipliers for embeddings, attention scores, residual additions and logits.

Granite 3 MoE: the same with experts, whose weights are stacked in one tensor.

Source: Granite Team, IBM 2024, "Granite 3.0 Language Models".
"""

import attrs

from litgpt.domain.families.llama import ATTENTION_WEIGHTS as PROJECTIONS
from litgpt.domain.families.llama import BIASED_ATTENTION, EMBEDDING_WEIGHTS, LLAMA, NORM_WEIGHTS
from litgpt.domain.families.schema.family import ResidualSchema
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.mlp import GatedMLPSchema, MoESchema, RouterSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor
from litgpt.domain.weights.mapping import SourceSlice

ATTENTION = attrs.evolve(BIASED_ATTENTION, scale=ConfigField("attention_multiplier", 1.0))

GRANITE = attrs.evolve(
    LLAMA,
    model_type="granite",
    attention=ATTENTION,
    residual=ResidualSchema(scale=ConfigField("residual_multiplier", 1.0)),
    embedding_scale=ConfigField("embedding_multiplier", 1.0),
    logit_divisor=ConfigField("logits_scaling", 1.0),
)

_EXPERT_INPUT = "block_sparse_moe.input_linear.weight"

MOE = MoESchema(
    num_experts=(ConfigField("num_local_experts", 8),),
    num_experts_per_token=ConfigField("num_experts_per_tok", 2),
    expert=GatedMLPSchema(),
    router=RouterSchema(scoring_func="softmax_after_topk"),
)

GRANITEMOE = attrs.evolve(
    GRANITE,
    model_type="granitemoe",
    mlp=MOE,
    weights=(
        *EMBEDDING_WEIGHTS,
        *NORM_WEIGHTS,
        *PROJECTIONS,
        layer_tensor("mlp.gate.weight", "block_sparse_moe.router.layer.weight"),
        layer_tensor("mlp.experts.{}.fc_1.weight", SourceSlice(_EXPERT_INPUT, 0, 2), stacked_experts=True),
        layer_tensor("mlp.experts.{}.fc_2.weight", SourceSlice(_EXPERT_INPUT, 1, 2), stacked_experts=True),
        layer_tensor(
            "mlp.experts.{}.proj.weight", "block_sparse_moe.output_linear.weight", stacked_experts=True
        ),
    ),
)
