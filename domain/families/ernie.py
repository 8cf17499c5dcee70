"""ERNIE 4.5: Llama with interleaved RoPE. ERNIE 4.5 MoE: softmax routing with a score correction.

Source: ERNIE Team, Baidu 2025, "ERNIE 4.5 Technical Report".
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.deepseek import SHARED_EXPERT_WEIGHTS
from litgpt.domain.families.llama import LLAMA
from litgpt.domain.families.qwen2 import EXPERT_WEIGHTS
from litgpt.domain.families.schema.attention import AttentionSchema
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema, RouterSchema
from litgpt.domain.families.schema.norm import RMSNormSchema
from litgpt.domain.families.schema.rope import RopeSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor

_BIAS = ConfigField("use_bias", default=False)

_ATTENTION = AttentionSchema(
    qkv_bias=_BIAS,
    output_bias=_BIAS,
    num_kv_heads=ConfigField("num_key_value_heads", 2, nullable=True),
    head_dim=ConfigField("head_dim", 128, nullable=True),
    rope=RopeSchema(theta=ConfigField("rope_theta", 500_000.0), interleaved=True),
)

ERNIE4_5 = attrs.evolve(
    LLAMA,
    model_type="ernie4_5",
    attention=_ATTENTION,
    mlp=GatedMLPSchema(bias=_BIAS),
    norm=RMSNormSchema(eps=ConfigField("rms_norm_eps", 1e-5)),
    tie_word_embeddings=ConfigField("tie_word_embeddings", default=True),
    context_length=ConfigField("max_position_embeddings", 131_072),
)


def _moe_layers(config: HFConfig) -> Mapping[str, object]:
    """Return the list of MoE layers, which the config gives by its first and last and their distance."""
    layers = config.integer(ConfigField("num_hidden_layers"))
    start, end = (
        config.get(ConfigField(f"moe_layer_{part}_index", usual))
        for part, usual in (("start", 1), ("end", -1))
    )
    every = config.integer(ConfigField("moe_layer_interval", 1))
    if (smallest := config.get(ConfigField("moe_norm_min", 1e-12))) > 1e-6:  # a sum of weights is larger
        raise config.unsupported("moe_norm_min", smallest)
    last = layers - 1 if end == -1 else end
    return {"moe_layers": [at for at in range(layers) if start <= at <= last and (at + 1) % every == 0]}


_MOE_INTERMEDIATE_SIZE = ConfigField("moe_intermediate_size", 1536)

ERNIE4_5_MOE = attrs.evolve(
    ERNIE4_5,
    model_type="ernie4_5_moe",
    attribute_map={"num_experts": "moe_num_experts", "num_experts_per_tok": "moe_k"},
    normalize_config=_moe_layers,
    attention=attrs.evolve(
        _ATTENTION,
        num_kv_heads=ConfigField("num_key_value_heads", 4, nullable=True),
        head_dim=ConfigField("head_dim", None),
    ),
    mlp=MoESchema(
        num_experts=(ConfigField("num_experts", 64),),
        num_experts_per_token=ConfigField("num_experts_per_tok", 6),
        expert=GatedMLPSchema(intermediate_size=_MOE_INTERMEDIATE_SIZE),
        router=RouterSchema(score_correction_bias=True),
        shared_expert=GatedMLPSchema(intermediate_size=_MOE_INTERMEDIATE_SIZE, bias=_BIAS),
        num_shared_experts=ConfigField("moe_num_shared_experts", 2),
        dense=GatedMLPSchema(bias=_BIAS),
        moe_layers=ConfigField("moe_layers"),
    ),
    lm_head_bias=_BIAS,
    # Layers for multi-token prediction.
    unused_tensors=(*LLAMA.unused_tensors, "*mtp*"),
    weights=(
        *LLAMA.weights,
        *EXPERT_WEIGHTS,
        *SHARED_EXPERT_WEIGHTS,
        layer_tensor(
            "mlp.gate.e_score_correction_bias",
            "mlp.moe_statics.e_score_correction_bias",
            vector_as_matrix=True,
        ),
    ),
)
