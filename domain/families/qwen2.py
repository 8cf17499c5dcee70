"""Qwen 2 and 2.5, dense and MoE: Llama with a QKV bias and optional sliding windows.

Source: Yang et al. 2024, arXiv:2407.10671.
"""

import attrs

from litgpt.domain.families.llama import LLAMA
from litgpt.domain.families.schema.attention import AttentionSchema, SlidingWindowSchema
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema, RouterSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor
from litgpt.domain.weights.mapping import SourceSlice

SLIDING_WINDOW = SlidingWindowSchema(
    size=ConfigField("sliding_window", 4096, nullable=True),
    enabled=ConfigField("use_sliding_window", default=False),
    num_full_layers=ConfigField("max_window_layers", 28),
)

QWEN2 = attrs.evolve(
    LLAMA,
    model_type="qwen2",
    attention=AttentionSchema(qkv_bias=True, sliding_window=SLIDING_WINDOW),
    mlp=GatedMLPSchema(),
)

EXPERT_WEIGHTS = (
    layer_tensor("mlp.gate.weight", "mlp.gate.weight"),
    layer_tensor("mlp.experts.{}.fc_1.weight", "mlp.experts.{}.gate_proj.weight"),
    layer_tensor("mlp.experts.{}.fc_2.weight", "mlp.experts.{}.up_proj.weight"),
    layer_tensor("mlp.experts.{}.proj.weight", "mlp.experts.{}.down_proj.weight"),
)
STACKED_EXPERT_WEIGHTS = (
    layer_tensor("mlp.gate.weight", "mlp.gate.weight"),
    layer_tensor(
        "mlp.experts.{}.fc_1.weight", SourceSlice("mlp.experts.gate_up_proj", 0, 2), stacked_experts=True
    ),
    layer_tensor(
        "mlp.experts.{}.fc_2.weight", SourceSlice("mlp.experts.gate_up_proj", 1, 2), stacked_experts=True
    ),
    layer_tensor("mlp.experts.{}.proj.weight", "mlp.experts.down_proj", stacked_experts=True),
)
"""Experts whose weights are stacked in one tensor."""
SHARED_EXPERT_WEIGHTS = (
    layer_tensor("mlp.shared_experts.fc_1.weight", "mlp.shared_expert.gate_proj.weight"),
    layer_tensor("mlp.shared_experts.fc_2.weight", "mlp.shared_expert.up_proj.weight"),
    layer_tensor("mlp.shared_experts.proj.weight", "mlp.shared_expert.down_proj.weight"),
    layer_tensor("mlp.shared_gate.weight", "mlp.shared_expert_gate.weight"),
)

QWEN2_MOE = attrs.evolve(
    QWEN2,
    model_type="qwen2_moe",
    attention=AttentionSchema(qkv_bias=ConfigField("qkv_bias", default=True), sliding_window=SLIDING_WINDOW),
    mlp=MoESchema(
        expert=GatedMLPSchema(intermediate_size=ConfigField("moe_intermediate_size", 1408)),
        num_experts_per_token=ConfigField("num_experts_per_tok", 4),
        router=RouterSchema(norm_topk_prob=ConfigField("norm_topk_prob", default=False)),
        shared_expert=GatedMLPSchema(intermediate_size=ConfigField("shared_expert_intermediate_size", 5632)),
        shared_expert_gate=True,
        moe_every=ConfigField("decoder_sparse_step", 1),
        mlp_only_layers=ConfigField("mlp_only_layers", ()),
    ),
    context_length=ConfigField("max_position_embeddings", 32_768),
    weights=(*LLAMA.weights, *EXPERT_WEIGHTS, *SHARED_EXPERT_WEIGHTS),
)
