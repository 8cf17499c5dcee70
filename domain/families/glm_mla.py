"""GLM with DeepSeek's latent attention: GLM 4.7 Flash, and GLM 5 with sparse attention.

Source: GLM Team 2025, arXiv:2508.06471; 2026, arXiv:2602.15763.
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.deepseek import DEEPSEEK_V3, deepseek_router
from litgpt.domain.families.deepseek_v32 import DEEPSEEK_V32
from litgpt.domain.families.llama import LLAMA
from litgpt.domain.families.schema.attention import IndexerSchema, MLASchema
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema
from litgpt.domain.families.schema.norm import RMSNormSchema
from litgpt.domain.families.schema.rope import RopeSchema

_EXPERT = GatedMLPSchema(intermediate_size=ConfigField("moe_intermediate_size", 1536))

GLM4_MOE_LITE = attrs.evolve(
    DEEPSEEK_V3,
    model_type="glm4_moe_lite",
    attention=MLASchema(q_lora_rank=ConfigField("q_lora_rank", 768, nullable=True)),
    mlp=MoESchema(
        num_experts=(ConfigField("num_local_experts", None), ConfigField("n_routed_experts", 64)),
        num_experts_per_token=ConfigField("num_experts_per_tok", 4),
        expert=_EXPERT,
        router=deepseek_router(routed_scaling_factor=1.8),
        shared_expert=_EXPERT,
        num_shared_experts=ConfigField("n_shared_experts", 1),
        first_moe_layer=ConfigField("first_k_dense_replace", 1),
        layer_types=ConfigField("mlp_layer_types", None),
    ),
    norm=RMSNormSchema(eps=ConfigField("rms_norm_eps", 1e-5)),
    context_length=ConfigField("max_position_embeddings", 202_752),
    # The extra layer is for multi-token prediction.
    unused_tensors=(*LLAMA.unused_tensors, "model.layers.47.*"),
)

_DSA_EXPERT = GatedMLPSchema(intermediate_size=ConfigField("moe_intermediate_size", 2048))


def _indexer_types(config: HFConfig) -> Mapping[str, object]:
    """Return which layers have an indexer, from a pattern of F (full) and S (shared) or from a period."""
    if config.has_value("indexer_types"):
        return {}
    layers = config.integer(ConfigField("num_hidden_layers"))
    if config.has_value("index_topk_pattern"):
        pattern = config.get(ConfigField("index_topk_pattern"))
        if not isinstance(pattern, str):
            return {"indexer_types": pattern}
        return {"indexer_types": [{"F": "full", "S": "shared"}.get(letter, letter) for letter in pattern]}
    every, first = ConfigField("index_topk_freq", 1), ConfigField("index_skip_topk_offset", 2)
    period, offset = int(config.number_or_zero(every)) or 1, int(config.number_or_zero(first))
    kinds = ["shared" if max(layer - offset + 1, 0) % period else "full" for layer in range(layers)]
    return {"indexer_types": kinds}


GLM_MOE_DSA = attrs.evolve(
    DEEPSEEK_V32,
    model_type="glm_moe_dsa",
    normalize_config=_indexer_types,
    attention=MLASchema(
        rope=RopeSchema(interleaved=True),
        q_lora_rank=ConfigField("q_lora_rank", 2048),
        indexer=IndexerSchema(
            num_heads=ConfigField("index_n_heads", 32),
            interleaved=True,
            kinds=ConfigField("indexer_types"),
        ),
    ),
    mlp=MoESchema(
        num_experts=(
            ConfigField("num_experts", None),
            ConfigField("num_local_experts", None),
            ConfigField("n_routed_experts", 256),
        ),
        num_experts_per_token=ConfigField("num_experts_per_tok", 8),
        expert=_DSA_EXPERT,
        router=deepseek_router(),
        shared_expert=_DSA_EXPERT,
        num_shared_experts=ConfigField("n_shared_experts", 1),
        first_moe_layer=ConfigField("first_k_dense_replace", 3),
        layer_types=ConfigField("mlp_layer_types", None),
    ),
    norm=RMSNormSchema(eps=ConfigField("rms_norm_eps", 1e-5)),
    context_length=ConfigField("max_position_embeddings", 202_752),
    # The extra layer is for multi-token prediction.
    unused_tensors=(*LLAMA.unused_tensors, "model.layers.78.*"),
)
