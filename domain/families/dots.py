"""dots.llm1: Qwen 3's attention with the experts of DeepSeek V3.

Source: Huo et al. 2025, arXiv:2506.05767.
"""

import attrs

from litgpt.domain.families.deepseek import SCORE_CORRECTION_WEIGHTS, SHARED_EXPERT_WEIGHTS
from litgpt.domain.families.llama import BIASED_ATTENTION, LLAMA, QK_NORM_WEIGHTS
from litgpt.domain.families.qwen2 import EXPERT_WEIGHTS
from litgpt.domain.families.schema.attention import SlidingWindowSchema
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema, RouterSchema
from litgpt.domain.families.schema.norm import QkNormSchema

_MOE_INTERMEDIATE_SIZE = ConfigField("moe_intermediate_size", 1408)

DOTS1 = attrs.evolve(
    LLAMA,
    model_type="dots1",
    attention=attrs.evolve(
        BIASED_ATTENTION,
        num_kv_heads=ConfigField("num_key_value_heads", 32, nullable=True),
        qk_norm=QkNormSchema(),
        sliding_window=SlidingWindowSchema(
            size=ConfigField("sliding_window", 4096, nullable=True),
            num_full_layers=ConfigField("max_window_layers", 62),
        ),
    ),
    mlp=MoESchema(
        num_experts=(ConfigField("n_routed_experts"),),
        expert=GatedMLPSchema(intermediate_size=_MOE_INTERMEDIATE_SIZE),
        router=RouterSchema(
            scoring_func="sigmoid",
            norm_topk_prob=ConfigField("norm_topk_prob", default=False),
            routed_scaling_factor=ConfigField("routed_scaling_factor", 1.0),
            score_correction_bias=True,
            n_group=ConfigField("n_group", 1),
            topk_group=ConfigField("topk_group", 1),
        ),
        shared_expert=GatedMLPSchema(intermediate_size=_MOE_INTERMEDIATE_SIZE),
        num_shared_experts=ConfigField("n_shared_experts"),
        first_moe_layer=ConfigField("first_k_dense_replace", 0),
    ),
    weights=(
        *LLAMA.weights,
        *QK_NORM_WEIGHTS,
        *EXPERT_WEIGHTS,
        *SHARED_EXPERT_WEIGHTS,
        *SCORE_CORRECTION_WEIGHTS,
    ),
)
