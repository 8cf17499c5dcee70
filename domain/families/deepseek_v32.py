"""DeepSeek V3.2: V3 with sparse attention, to the tokens that a lightning indexer selects.

Source: DeepSeek-AI 2025, arXiv:2512.02556.
"""

import attrs

from litgpt.domain.families.deepseek import DEEPSEEK_V3, deepseek_router
from litgpt.domain.families.schema.attention import IndexerSchema, MLASchema
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema
from litgpt.domain.families.schema.rope import RopeSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor, linear_tensors

INDEXER_WEIGHTS = (
    layer_tensor("attn.indexer.q_b_proj.weight", "self_attn.indexer.wq_b.weight"),
    layer_tensor("attn.indexer.k_proj.weight", "self_attn.indexer.wk.weight"),
    *linear_tensors("attn.indexer.k_norm", "self_attn.indexer.k_norm"),
    layer_tensor("attn.indexer.weights_proj.weight", "self_attn.indexer.weights_proj.weight"),
)

_EXPERT = GatedMLPSchema(intermediate_size=ConfigField("moe_intermediate_size", 2048))

DEEPSEEK_V32 = attrs.evolve(
    DEEPSEEK_V3,
    model_type="deepseek_v32",
    attention=MLASchema(
        rope=RopeSchema(interleaved=True),
        indexer=IndexerSchema(num_heads=ConfigField("index_n_heads", 64), interleaved=False),
    ),
    mlp=MoESchema(
        num_experts=(
            ConfigField("num_experts", None),
            ConfigField("num_local_experts", None),
            ConfigField("n_routed_experts", 256),
        ),
        num_experts_per_token=ConfigField("num_experts_per_tok", 8),
        expert=_EXPERT,
        router=deepseek_router(n_group=8, topk_group=4),
        shared_expert=_EXPERT,
        num_shared_experts=ConfigField("n_shared_experts", 1),
        first_moe_layer=ConfigField("first_k_dense_replace", 3),
        layer_types=ConfigField("mlp_layer_types", None),
    ),
    context_length=ConfigField("max_position_embeddings", 163_840),
    weights=(*INDEXER_WEIGHTS, *DEEPSEEK_V3.weights),
)
