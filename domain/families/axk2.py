"""A.X K2: DeepSeek V3.2 with gates of attention and of norms.

Source: SK Telecom 2026, "A.X K2".
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.deepseek import deepseek_router
from litgpt.domain.families.deepseek_v32 import DEEPSEEK_V32
from litgpt.domain.families.llama import LLAMA
from litgpt.domain.families.schema.attention import IndexerSchema, MLASchema
from litgpt.domain.families.schema.family import ResidualSchema
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema
from litgpt.domain.families.schema.rope import RopeSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor
from litgpt.domain.weights.mapping import WeightMapping

_EXPERT = GatedMLPSchema(intermediate_size=ConfigField("moe_intermediate_size", 512))


def _refuse_intervals(config: HFConfig) -> Mapping[str, object]:
    """Refuse layers with experts at intervals."""
    if (value := config.get(ConfigField("moe_layer_freq", 1))) != 1:
        raise config.unsupported("moe_layer_freq", value)
    return {}


def _gated_norm(name: str, hf_name: str) -> tuple[WeightMapping, ...]:
    """Return the rules of a norm, which has a gate in some layers."""
    return (
        layer_tensor(f"{name}.norm.weight", f"{hf_name}.norm.weight"),
        layer_tensor(f"{name}.gate_down.weight", f"{hf_name}.W_down.weight"),
        layer_tensor(f"{name}.gate_up.weight", f"{hf_name}.W_up.weight"),
    )


AXK2 = attrs.evolve(
    DEEPSEEK_V32,
    model_type="axk2",
    normalize_config=_refuse_intervals,
    attention=MLASchema(
        rope=RopeSchema(interleaved=True),
        q_lora_rank=ConfigField("q_lora_rank", 384),
        indexer=IndexerSchema(num_heads=ConfigField("index_n_heads", 16), interleaved=False),
        output_gate=True,
    ),
    mlp=MoESchema(
        num_experts=(ConfigField("num_local_experts", None), ConfigField("n_routed_experts", 128)),
        num_experts_per_token=ConfigField("num_experts_per_tok", 8),
        expert=_EXPERT,
        router=attrs.evolve(deepseek_router(), excluded_score=0.0),
        shared_expert=_EXPERT,
        num_shared_experts=ConfigField("n_shared_experts", 1),
        first_moe_layer=ConfigField("first_k_dense_replace", 1),
        layer_types=ConfigField("mlp_layer_types", None),
    ),
    residual=ResidualSchema(norm_gate_rank=ConfigField("gated_norm_rank", 16)),
    context_length=ConfigField("max_position_embeddings", 131_072),
    unused_tensors=LLAMA.unused_tensors,
    weights=(
        *_gated_norm("norm_1", "input_layernorm"),
        *_gated_norm("norm_2", "post_attention_layernorm"),
        layer_tensor("attn.q_gate_proj.weight", "self_attn.q_b_proj.weight"),
        *DEEPSEEK_V32.weights,
    ),
)
