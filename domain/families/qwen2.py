"""Qwen 2 and 2.5, dense and MoE: Llama with a QKV bias and optional sliding windows.

Source: Yang et al. 2024, arXiv:2407.10671.
"""

import attrs

from litgpt.domain.families.attention import SoftmaxAttention, Windows
from litgpt.domain.families.feedforward import Gated, Routing, Sparse
from litgpt.domain.families.llama import LLAMA
from litgpt.domain.families.names import layer_rule
from litgpt.domain.families.settings import Key
from litgpt.domain.weights import Part

WINDOWS = Windows(
    size=Key("sliding_window", 4096, null=True),
    enabled=Key("use_sliding_window", default=False),
    first=Key("max_window_layers", 28),
)

QWEN2 = attrs.evolve(
    LLAMA,
    model_type="qwen2",
    attention=SoftmaxAttention(qkv_bias=True, windows=WINDOWS),
    feed_forward=Gated(),
)

EXPERTS = (
    layer_rule("mlp.gate.weight", "mlp.gate.weight"),
    layer_rule("mlp.experts.{}.fc_1.weight", "mlp.experts.{}.gate_proj.weight"),
    layer_rule("mlp.experts.{}.fc_2.weight", "mlp.experts.{}.up_proj.weight"),
    layer_rule("mlp.experts.{}.proj.weight", "mlp.experts.{}.down_proj.weight"),
)
STACKED_EXPERTS = (
    layer_rule("mlp.gate.weight", "mlp.gate.weight"),
    layer_rule("mlp.experts.{}.fc_1.weight", Part("mlp.experts.gate_up_proj", 0, 2), stacked=True),
    layer_rule("mlp.experts.{}.fc_2.weight", Part("mlp.experts.gate_up_proj", 1, 2), stacked=True),
    layer_rule("mlp.experts.{}.proj.weight", "mlp.experts.down_proj", stacked=True),
)
"""Experts whose weights are stacked in one tensor."""
SHARED_EXPERT = (
    layer_rule("mlp.shared_experts.fc_1.weight", "mlp.shared_expert.gate_proj.weight"),
    layer_rule("mlp.shared_experts.fc_2.weight", "mlp.shared_expert.up_proj.weight"),
    layer_rule("mlp.shared_experts.proj.weight", "mlp.shared_expert.down_proj.weight"),
    layer_rule("mlp.shared_gate.weight", "mlp.shared_expert_gate.weight"),
)

QWEN2_MOE = attrs.evolve(
    QWEN2,
    model_type="qwen2_moe",
    attention=SoftmaxAttention(qkv_bias=Key("qkv_bias", default=True), windows=WINDOWS),
    feed_forward=Sparse(
        expert=Gated(size=Key("moe_intermediate_size", 1408)),
        chosen=Key("num_experts_per_tok", 4),
        routing=Routing(normalise=Key("norm_topk_prob", default=False)),
        shared=Gated(size=Key("shared_expert_intermediate_size", 5632)),
        shared_gate=True,
        every=Key("decoder_sparse_step", 1),
        never=Key("mlp_only_layers", ()),
    ),
    context=Key("max_position_embeddings", 32_768),
    weights=(*LLAMA.weights, *EXPERTS, *SHARED_EXPERT),
)
