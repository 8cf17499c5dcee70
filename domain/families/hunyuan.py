"""Hunyuan: Llama with QK-Norm per head after RoPE. Hunyuan-A13B: the same with experts and a shared expert.

Hy3: QK-Norm before RoPE and the experts of DeepSeek V3.

Source: Tencent Hunyuan Team 2025, "Hunyuan-7B" and "Hunyuan-A13B Technical Report"; 2026, "Hy3-preview".
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.llama import BIASED_ATTENTION, LLAMA, QK_NORM_WEIGHTS
from litgpt.domain.families.qwen2 import EXPERT_WEIGHTS
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema, RouterSchema
from litgpt.domain.families.schema.norm import QkNormSchema, RMSNormSchema
from litgpt.domain.families.schema.rope import RopeSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor, linear_tensors

_NORM = RMSNormSchema(eps=ConfigField("rms_norm_eps", 1e-5))

HUNYUAN_V1_DENSE = attrs.evolve(
    LLAMA,
    model_type="hunyuan_v1_dense",
    attention=attrs.evolve(
        BIASED_ATTENTION, qk_norm=QkNormSchema(norm=_NORM, after_rope=True), rope=RopeSchema(ntk_alpha=True)
    ),
    mlp=GatedMLPSchema(),
    norm=_NORM,
    # Cross-layer attention.
    unsupported_settings=(*LLAMA.unsupported_settings, "use_cla"),
    weights=(
        *LLAMA.weights,
        *linear_tensors("attn.norm_q", "self_attn.query_layernorm"),
        *linear_tensors("attn.norm_k", "self_attn.key_layernorm"),
    ),
)


def _same_in_all_layers(config: HFConfig) -> Mapping[str, object]:
    """Return the number of experts per token, which the config may give as a list by layer."""
    top_k = config.get(ConfigField("moe_topk", 1))
    if not isinstance(top_k, list):
        return {}
    if len(set(top_k)) != 1:
        raise config.unsupported("moe_topk", top_k)
    return {"moe_topk": top_k[0]}


_SHARED_MLP_WEIGHTS = (
    *linear_tensors("mlp.shared_experts.fc_1", "mlp.shared_mlp.gate_proj"),
    *linear_tensors("mlp.shared_experts.fc_2", "mlp.shared_mlp.up_proj"),
    *linear_tensors("mlp.shared_experts.proj", "mlp.shared_mlp.down_proj"),
)

HUNYUAN_V1_MOE = attrs.evolve(
    HUNYUAN_V1_DENSE,
    model_type="hunyuan_v1_moe",
    attribute_map={"num_experts_per_tok": "moe_topk"},
    normalize_config=_same_in_all_layers,
    mlp=MoESchema(
        num_experts=(ConfigField("num_experts", 1),),
        num_experts_per_token=ConfigField("num_experts_per_tok", 1),
        expert=GatedMLPSchema(),
        shared_expert=GatedMLPSchema(),
    ),
    # Dense first layers.
    unsupported_settings=(*HUNYUAN_V1_DENSE.unsupported_settings, "moe_layer_num_skipped"),
    weights=(
        *HUNYUAN_V1_DENSE.weights,
        layer_tensor("mlp.gate.weight", "mlp.gate.wg.weight"),
        *EXPERT_WEIGHTS[1:],
        *_SHARED_MLP_WEIGHTS,
    ),
)

_MOE_INTERMEDIATE_SIZE = ConfigField("moe_intermediate_size", 1536)
_MLP_BIAS = ConfigField("mlp_bias", default=False)

HY_V3 = attrs.evolve(
    LLAMA,
    model_type="hy_v3",
    attention=attrs.evolve(
        BIASED_ATTENTION,
        num_kv_heads=ConfigField("num_key_value_heads", 8),
        head_dim=ConfigField("head_dim", 128),
        qk_norm=QkNormSchema(norm=_NORM),
        rope=RopeSchema(theta=ConfigField("rope_theta", 11_158_840.0)),
    ),
    mlp=MoESchema(
        num_experts=(ConfigField("num_experts", 192),),
        num_experts_per_token=ConfigField("num_experts_per_tok", 8),
        expert=GatedMLPSchema(intermediate_size=_MOE_INTERMEDIATE_SIZE),
        router=RouterSchema(
            scoring_func="sigmoid",
            routed_scaling_factor=ConfigField("router_scaling_factor", 2.826),
            score_correction_bias=True,
        ),
        shared_expert=GatedMLPSchema(intermediate_size=_MOE_INTERMEDIATE_SIZE, bias=_MLP_BIAS),
        num_shared_experts=ConfigField("num_shared_experts", 1),
        dense=GatedMLPSchema(bias=_MLP_BIAS),
        layer_types=ConfigField("mlp_layer_types", None),
        first_moe_layer=1,
    ),
    norm=_NORM,
    context_length=ConfigField("max_position_embeddings", 131_072),
    # The extra layer is for multi-token prediction.
    unused_tensors=(*LLAMA.unused_tensors, "model.layers.80.*"),
    weights=(
        *LLAMA.weights,
        *QK_NORM_WEIGHTS,
        layer_tensor("mlp.gate.weight", "mlp.router.gate.weight"),
        layer_tensor("mlp.gate.e_score_correction_bias", "mlp.expert_bias"),
        *EXPERT_WEIGHTS[1:],
        *_SHARED_MLP_WEIGHTS,
    ),
)
