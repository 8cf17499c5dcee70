"""Sarvam with latent attention: DeepSeek V3 without expert groups, queries projected directly.

Source: Sarvam AI 2026, "sarvam-105b".
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.deepseek import DEEPSEEK_V3, deepseek_router
from litgpt.domain.families.llama import LLAMA
from litgpt.domain.families.schema.attention import MLASchema
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema

_EXPERT = GatedMLPSchema(intermediate_size=ConfigField("moe_intermediate_size", 2048))


def _rope(config: HFConfig) -> Mapping[str, object]:
    """Return YaRN by its usual name; published configs call it `deepseek_yarn`."""
    scaling = config.mapping(ConfigField("rope_scaling"))
    if "deepseek_yarn" not in (scaling.get("type"), scaling.get("rope_type")):
        return {}
    return {"rope_parameters": {**scaling, "rope_type": "yarn"}}


SARVAM_MLA = attrs.evolve(
    DEEPSEEK_V3,
    model_type="sarvam_mla",
    attribute_map={"n_shared_experts": "num_shared_experts"},
    normalize_config=_rope,
    attention=MLASchema(q_lora_rank=ConfigField("q_lora_rank", None)),
    mlp=MoESchema(
        num_experts=(ConfigField("num_experts", None), ConfigField("n_routed_experts", 128)),
        num_experts_per_token=ConfigField("num_experts_per_tok", 8),
        expert=_EXPERT,
        router=deepseek_router(),
        shared_expert=_EXPERT,
        num_shared_experts=ConfigField("n_shared_experts", 1),
        first_moe_layer=ConfigField("first_k_dense_replace", 1),
    ),
    unused_tensors=LLAMA.unused_tensors,
)
