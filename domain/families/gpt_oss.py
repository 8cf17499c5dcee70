"""gpt-oss: MoE with biases and clamped SwiGLU, attention sinks, sliding windows in every other layer.

Source: OpenAI 2025, arXiv:2508.10925.
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.llama import ATTENTION_WEIGHTS, EMBEDDING_WEIGHTS, LLAMA, NORM_WEIGHTS
from litgpt.domain.families.schema.attention import AttentionSchema, SlidingWindowSchema
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.mlp import ClampSchema, GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema, RouterSchema
from litgpt.domain.families.schema.norm import RMSNormSchema
from litgpt.domain.families.schema.rope import RopeSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor, linear_tensors
from litgpt.domain.weights.mapping import SourceSlice

_BIAS = ConfigField("attention_bias", default=True)
_ROPE_PARAMETERS = {
    "rope_type": "yarn",
    "factor": 32.0,
    "truncate": False,
    "original_max_position_embeddings": 4096,
}


def _normalize_config(config: HFConfig) -> Mapping[str, object]:
    has_scaling = config.has_value("rope_parameters") or config.has_value("rope_scaling")
    return {} if has_scaling else {"rope_scaling": _ROPE_PARAMETERS}


def _interleaved_half(name: str, index: int) -> SourceSlice:
    """Return the gate (0) or up (1) projection, whose rows are interleaved in one tensor."""
    return SourceSlice(f"mlp.experts.{name}", index, 2, interleaved=True)


GPT_OSS = attrs.evolve(
    LLAMA,
    model_type="gpt_oss",
    normalize_config=_normalize_config,
    attention=AttentionSchema(
        qkv_bias=_BIAS,
        output_bias=_BIAS,
        num_kv_heads=ConfigField("num_key_value_heads", 8),
        head_dim=ConfigField("head_dim", 64),
        sliding_window=SlidingWindowSchema(
            size=ConfigField("sliding_window", 128, nullable=True),
            pattern=ConfigField("sliding_window_pattern", 2),
        ),
        rope=RopeSchema(theta=ConfigField("rope_theta", 150_000.0)),
        attention_sinks=True,
    ),
    mlp=MoESchema(
        num_experts=(ConfigField("num_local_experts", 128),),
        num_experts_per_token=ConfigField("num_experts_per_tok", 4),
        expert=GatedMLPSchema(
            bias=True,
            clamp=ClampSchema(
                limit=ConfigField("swiglu_limit", 7.0), alpha=ConfigField("swiglu_alpha", 1.702)
            ),
        ),
        router=RouterSchema(scoring_func="softmax_after_topk", bias=True),
    ),
    norm=RMSNormSchema(eps=ConfigField("rms_norm_eps", 1e-5)),
    context_length=ConfigField("max_position_embeddings", 131_072),
    weights=(
        *EMBEDDING_WEIGHTS,
        *NORM_WEIGHTS,
        *ATTENTION_WEIGHTS,
        layer_tensor("attn.sinks", "self_attn.sinks"),
        *linear_tensors("mlp.gate", "mlp.router"),
        layer_tensor(
            "mlp.experts.{}.fc_1.weight",
            _interleaved_half("gate_up_proj", 0),
            stacked_experts=True,
            transposed=True,
        ),
        layer_tensor(
            "mlp.experts.{}.fc_2.weight",
            _interleaved_half("gate_up_proj", 1),
            stacked_experts=True,
            transposed=True,
        ),
        layer_tensor(
            "mlp.experts.{}.proj.weight", "mlp.experts.down_proj", stacked_experts=True, transposed=True
        ),
        layer_tensor(
            "mlp.experts.{}.fc_1.bias", _interleaved_half("gate_up_proj_bias", 0), stacked_experts=True
        ),
        layer_tensor(
            "mlp.experts.{}.fc_2.bias", _interleaved_half("gate_up_proj_bias", 1), stacked_experts=True
        ),
        layer_tensor("mlp.experts.{}.proj.bias", "mlp.experts.down_proj_bias", stacked_experts=True),
    ),
)
