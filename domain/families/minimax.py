"""MiniMax M2: MoE with sigmoid routing, QK-Norm over all heads, RoPE on half of each head.

Source: MiniMax 2025, "MiniMax-M2".
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.llama import QK_NORM_WEIGHTS
from litgpt.domain.families.mistral import MIXTRAL
from litgpt.domain.families.schema.attention import AttentionSchema
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.mlp import GatedMLPSchema, MoESchema, RouterSchema
from litgpt.domain.families.schema.norm import QkNormSchema, RMSNormSchema
from litgpt.domain.families.schema.rope import RopeSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor

_HEAD_DIM = ConfigField("head_dim", 128)


def _normalize_config(config: HFConfig) -> Mapping[str, object]:
    """Return the rotated fraction of a head; published configs have the dimension, `rotary_dim`."""
    if not config.has_value("rotary_dim") or config.has_value("partial_rotary_factor"):
        return {}
    return {"partial_rotary_factor": config.integer(ConfigField("rotary_dim")) / config.integer(_HEAD_DIM)}


MINIMAX_M2 = attrs.evolve(
    MIXTRAL,
    model_type="minimax_m2",
    normalize_config=_normalize_config,
    attention=AttentionSchema(
        num_kv_heads=ConfigField("num_key_value_heads", 8),
        head_dim=_HEAD_DIM,
        qk_norm=QkNormSchema(scope="all"),
        rope=RopeSchema(
            theta=ConfigField("rope_theta", 5_000_000.0),
            partial_rotary_factor=ConfigField("partial_rotary_factor", 1.0),
        ),
    ),
    mlp=MoESchema(
        num_experts=(ConfigField("num_experts", None), ConfigField("num_local_experts", 256)),
        num_experts_per_token=ConfigField("num_experts_per_tok", 8),
        expert=GatedMLPSchema(),
        router=RouterSchema(scoring_func="sigmoid", score_correction_bias=True),
    ),
    norm=RMSNormSchema(),
    context_length=ConfigField("max_position_embeddings", 196_608),
    unsupported_settings=(*MIXTRAL.unsupported_settings, "shared_intermediate_size"),
    weights=(
        *MIXTRAL.weights,
        *QK_NORM_WEIGHTS,
        layer_tensor("mlp.gate.e_score_correction_bias", "block_sparse_moe.e_score_correction_bias"),
    ),
)
