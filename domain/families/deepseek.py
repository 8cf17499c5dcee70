"""DeepSeek V2, V3 and R1: MLA, MoE with group-limited routing, and in V3 a load-balancing score correction.

Source: DeepSeek-AI 2024, arXiv:2405.04434 and arXiv:2412.19437.
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.llama import EMBEDDING_WEIGHTS, GATED_MLP_WEIGHTS, LLAMA, NORM_WEIGHTS
from litgpt.domain.families.qwen2 import EXPERT_WEIGHTS
from litgpt.domain.families.schema.attention import MLASchema
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema, RouterSchema
from litgpt.domain.families.schema.rope import RopeSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor, linear_tensors

MLA_WEIGHTS = (
    *linear_tensors("attn.q_proj", "self_attn.q_proj"),
    *linear_tensors("attn.q_a_proj", "self_attn.q_a_proj"),
    *linear_tensors("attn.q_a_norm", "self_attn.q_a_layernorm"),
    *linear_tensors("attn.q_b_proj", "self_attn.q_b_proj"),
    *linear_tensors("attn.kv_a_proj_with_mqa", "self_attn.kv_a_proj_with_mqa"),
    *linear_tensors("attn.kv_a_norm", "self_attn.kv_a_layernorm"),
    *linear_tensors("attn.kv_b_proj", "self_attn.kv_b_proj"),
    *linear_tensors("attn.proj", "self_attn.o_proj"),
)
SHARED_EXPERT_WEIGHTS = (
    *linear_tensors("mlp.shared_experts.fc_1", "mlp.shared_experts.gate_proj"),
    *linear_tensors("mlp.shared_experts.fc_2", "mlp.shared_experts.up_proj"),
    *linear_tensors("mlp.shared_experts.proj", "mlp.shared_experts.down_proj"),
)
SCORE_CORRECTION_WEIGHTS = (
    layer_tensor("mlp.gate.e_score_correction_bias", "mlp.gate.e_score_correction_bias"),
)


def deepseek_router(
    *, routed_scaling_factor: float = 2.5, n_group: int = 1, topk_group: int = 1
) -> RouterSchema:
    """Return the router of DeepSeek V3 with a family's defaults of its settings."""
    return RouterSchema(
        scoring_func="sigmoid",
        norm_topk_prob=ConfigField("norm_topk_prob", default=True),
        routed_scaling_factor=ConfigField("routed_scaling_factor", routed_scaling_factor),
        score_correction_bias=True,
        n_group=ConfigField("n_group", n_group),
        topk_group=ConfigField("topk_group", topk_group),
    )


DEEPSEEK_V3 = attrs.evolve(
    LLAMA,
    model_type="deepseek_v3",
    attention=MLASchema(),
    mlp=MoESchema(
        router=deepseek_router(n_group=8, topk_group=4),
        shared_expert=GatedMLPSchema(intermediate_size=ConfigField("moe_intermediate_size")),
        num_shared_experts=ConfigField("n_shared_experts", 1),
        first_moe_layer=ConfigField("first_k_dense_replace", 3),
    ),
    context_length=ConfigField("max_position_embeddings", 4096),
    # The extra layer is for multi-token prediction (training and speculative decoding).
    unused_tensors=(*LLAMA.unused_tensors, "model.layers.61.*"),
    weights=(
        *EMBEDDING_WEIGHTS,
        *NORM_WEIGHTS,
        *MLA_WEIGHTS,
        *GATED_MLP_WEIGHTS,
        *EXPERT_WEIGHTS,
        *SHARED_EXPERT_WEIGHTS,
        *SCORE_CORRECTION_WEIGHTS,
    ),
)


def _group_limits(config: HFConfig) -> Mapping[str, object]:
    """Return the number of expert groups, which only `group_limited_greedy` routing uses."""
    for name, usual in (("scoring_func", "softmax"), ("moe_layer_freq", 1)):
        if (value := config.get(ConfigField(name, usual))) != usual:
            raise config.unsupported(name, value)
    method = config.get(ConfigField("topk_method", "greedy"))
    if method == "greedy":
        return {"n_group": 1, "topk_group": 1}
    if method != "group_limited_greedy":
        raise config.unsupported("topk_method", method)
    return {}


_MLP_BIAS = ConfigField("mlp_bias", default=False)
_MOE_INTERMEDIATE_SIZE = ConfigField("moe_intermediate_size", 1407)

DEEPSEEK_V2 = attrs.evolve(
    DEEPSEEK_V3,
    model_type="deepseek_v2",
    normalize_config=_group_limits,
    attention=MLASchema(rope=RopeSchema(interleaved=True)),
    mlp=MoESchema(
        expert=GatedMLPSchema(intermediate_size=_MOE_INTERMEDIATE_SIZE),
        router=RouterSchema(
            norm_topk_prob=False,
            routed_scaling_factor=ConfigField("routed_scaling_factor", 1.0),
            n_group=ConfigField("n_group"),
            topk_group=ConfigField("topk_group"),
            group_score_top_k=1,
        ),
        shared_expert=GatedMLPSchema(intermediate_size=_MOE_INTERMEDIATE_SIZE, bias=_MLP_BIAS),
        num_shared_experts=ConfigField("n_shared_experts", 2),
        dense=GatedMLPSchema(bias=_MLP_BIAS),
        first_moe_layer=ConfigField("first_k_dense_replace", 0),
    ),
    context_length=ConfigField("max_position_embeddings", 2048),
    unused_tensors=LLAMA.unused_tensors,
    unsupported_settings=(*LLAMA.unsupported_settings, "norm_topk_prob"),
    weights=(
        *EMBEDDING_WEIGHTS,
        *NORM_WEIGHTS,
        *MLA_WEIGHTS,
        *GATED_MLP_WEIGHTS,
        *EXPERT_WEIGHTS,
        *SHARED_EXPERT_WEIGHTS,
    ),
)
