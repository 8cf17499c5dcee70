"""Mellum 2: Qwen 3 MoE with sliding windows and RoPE settings for each type of layer.

Source: JetBrains 2026, model card of Mellum2-12B-A2.5B-Base.
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.llama import BIASED_ATTENTION
from litgpt.domain.families.qwen3 import QWEN3_MOE
from litgpt.domain.families.schema.attention import SlidingWindowSchema
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema, RouterSchema
from litgpt.domain.families.schema.norm import QkNormSchema
from litgpt.domain.families.schema.rope import RopeSchema

_ROPE_PARAMETERS = {
    "full_attention": {"rope_type": "default", "rope_theta": 500_000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
}


def _normalize_config(config: HFConfig) -> Mapping[str, object]:
    """Return the defaults of all layers' types, and the list of layers without experts."""
    layers = config.integer(ConfigField("num_hidden_layers"))
    key = ConfigField("mlp_layer_types", ["sparse"] * layers)
    kinds = config.get(key)
    if not isinstance(kinds, list) or len(kinds) != layers or not {*kinds} <= {"sparse", "dense"}:
        config.raise_invalid(key, "a list with 'sparse' or 'dense' for each layer")
    return {
        "layer_types": config.get(ConfigField("layer_types", ["full_attention"] * layers)),
        "rope_parameters": config.get(ConfigField("rope_parameters", _ROPE_PARAMETERS)),
        "mlp_only_layers": [layer for layer, kind in enumerate(kinds) if kind == "dense"],
    }


MELLUM = attrs.evolve(
    QWEN3_MOE,
    model_type="mellum",
    normalize_config=_normalize_config,
    attention=attrs.evolve(
        BIASED_ATTENTION,
        num_kv_heads=ConfigField("num_key_value_heads", 4),
        head_dim=ConfigField("head_dim", 128),
        qk_norm=QkNormSchema(),
        sliding_window=SlidingWindowSchema(size=ConfigField("sliding_window", 1024, nullable=True)),
        rope=RopeSchema(theta=ConfigField("rope_theta", 10_000.0)),
    ),
    mlp=MoESchema(
        num_experts=(ConfigField("num_local_experts", None), ConfigField("num_experts", 64)),
        num_experts_per_token=ConfigField("num_experts_per_tok", 8),
        expert=GatedMLPSchema(intermediate_size=ConfigField("moe_intermediate_size", 896)),
        router=RouterSchema(norm_topk_prob=ConfigField("norm_topk_prob", default=True)),
        mlp_only_layers=ConfigField("mlp_only_layers"),
    ),
    context_length=ConfigField("max_position_embeddings", 131_072),
    # The layer for multi-token prediction.
    unused_tensors=(*QWEN3_MOE.unused_tensors, "mtp.*"),
    unsupported_settings=(*QWEN3_MOE.unsupported_settings, "rope_scaling"),
)
