"""Granite 3: Llama with multipliers for embeddings, attention scores, residual additions and logits.

Granite 3 MoE: the same with experts, whose weights are stacked in one tensor.

Source: Granite Team, IBM 2024, "Granite 3.0 Language Models".
"""

import attrs

from litgpt.domain.families.family import Residual
from litgpt.domain.families.feedforward import Gated, Routing, Sparse
from litgpt.domain.families.llama import ATTENTION as PROJECTIONS
from litgpt.domain.families.llama import BIASED_ATTENTION, LLAMA, NORMS, OUTSIDE
from litgpt.domain.families.names import layer_rule
from litgpt.domain.families.settings import Key
from litgpt.domain.weights import Part

ATTENTION = attrs.evolve(BIASED_ATTENTION, scale=Key("attention_multiplier", 1.0))

GRANITE = attrs.evolve(
    LLAMA,
    model_type="granite",
    attention=ATTENTION,
    residual=Residual(scale=Key("residual_multiplier", 1.0)),
    embedding_scale=Key("embedding_multiplier", 1.0),
    logit_divisor=Key("logits_scaling", 1.0),
)

_INPUT = "block_sparse_moe.input_linear.weight"

GRANITEMOE = attrs.evolve(
    GRANITE,
    model_type="granitemoe",
    feed_forward=Sparse(
        count=(Key("num_local_experts", 8),),
        chosen=Key("num_experts_per_tok", 2),
        expert=Gated(),
        routing=Routing(score="softmax_of_chosen"),
    ),
    weights=(
        *OUTSIDE,
        *NORMS,
        *PROJECTIONS,
        layer_rule("mlp.gate.weight", "block_sparse_moe.router.layer.weight"),
        layer_rule("mlp.experts.{}.fc_1.weight", Part(_INPUT, 0, 2), stacked=True),
        layer_rule("mlp.experts.{}.fc_2.weight", Part(_INPUT, 1, 2), stacked=True),
        layer_rule("mlp.experts.{}.proj.weight", "block_sparse_moe.output_linear.weight", stacked=True),
    ),
)
