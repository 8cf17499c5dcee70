"""Mistral 4: DeepSeek V3's latent attention with Ministral 3's attention temperature, and softmax routing.

Source: Mistral AI 2026, "Mistral Small 4".
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.deepseek import DEEPSEEK_V2, MLA_WEIGHTS, SHARED_EXPERT_WEIGHTS
from litgpt.domain.families.llama import EMBEDDING_WEIGHTS, GATED_MLP_WEIGHTS, LLAMA, NORM_WEIGHTS
from litgpt.domain.families.mistral import attention_temperature
from litgpt.domain.families.qwen2 import EXPERT_WEIGHTS, STACKED_EXPERT_WEIGHTS
from litgpt.domain.families.schema.attention import MLASchema
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema, RouterSchema
from litgpt.domain.families.schema.rope import RopeSchema

_EXPERT = GatedMLPSchema(intermediate_size=ConfigField("moe_intermediate_size", 2048))
_YARN = {
    "rope_type": "yarn",
    "rope_theta": 10_000.0,
    "factor": 128.0,
    "original_max_position_embeddings": 8192,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
    "llama_4_scaling_beta": 0.1,
}


def _default_rope(config: HFConfig) -> Mapping[str, object]:
    """Return the RoPE of the released model if the config has none."""
    has_rope = config.has_value("rope_parameters") or config.has_value("rope_scaling")
    return {} if has_rope else {"rope_parameters": _YARN}


MISTRAL4 = attrs.evolve(
    DEEPSEEK_V2,
    model_type="mistral4",
    normalize_config=_default_rope,
    attention=MLASchema(
        # `partial_rotary_factor` is the fraction of a whole head, of which these are all rotated dimensions.
        rope=RopeSchema(
            rotary_dim=ConfigField("qk_rope_head_dim", 64),
            interleaved=ConfigField("rope_interleave", default=True),
        ),
        q_lora_rank=ConfigField("q_lora_rank", 1024, nullable=True),
        attention_temperature=attention_temperature,
    ),
    mlp=MoESchema(
        num_experts=(ConfigField("num_local_experts", None), ConfigField("n_routed_experts", 128)),
        num_experts_per_token=ConfigField("num_experts_per_tok", 4),
        expert=_EXPERT,
        router=RouterSchema(
            norm_topk_prob=ConfigField("norm_topk_prob", default=True),
            routed_scaling_factor=ConfigField("routed_scaling_factor", 1.0),
            n_group=ConfigField("n_group", 1),
            topk_group=ConfigField("topk_group", 1),
        ),
        shared_expert=_EXPERT,
        num_shared_experts=ConfigField("n_shared_experts", 1),
        first_moe_layer=ConfigField("first_k_dense_replace", 0),
    ),
    context_length=ConfigField("max_position_embeddings", 1_048_576),
    unsupported_settings=LLAMA.unsupported_settings,
    weights=(
        *EMBEDDING_WEIGHTS,
        *NORM_WEIGHTS,
        *MLA_WEIGHTS,
        *GATED_MLP_WEIGHTS,
        *STACKED_EXPERT_WEIGHTS,
        *SHARED_EXPERT_WEIGHTS,
    ),
    alternative_weights=EXPERT_WEIGHTS,
)
