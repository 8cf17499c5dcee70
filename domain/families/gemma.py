"""Gemma 1 to 3, text: `1 + weight` norms, a scaled and tied embedding.

Gemma 2 adds post-norms, soft caps, and sliding windows in every other layer. Gemma 3 replaces the caps by
QK-Norm and has five sliding-window layers to one full-attention layer. VaultGemma has no post-norms.

Source: Gemma Team 2024, arXiv:2403.08295 and arXiv:2408.00118; 2025, arXiv:2503.19786; Sinha et al. 2025,
arXiv:2510.15001.
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.llama import (
    ATTENTION_WEIGHTS,
    BIASED_ATTENTION,
    EMBEDDING_WEIGHTS,
    GATED_MLP_WEIGHTS,
    LLAMA,
    QK_NORM_WEIGHTS,
)
from litgpt.domain.families.schema.attention import SlidingWindowSchema
from litgpt.domain.families.schema.family import ResidualSchema
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.norm import QkNormSchema, RMSNormSchema
from litgpt.domain.families.schema.rope import RopeSchema
from litgpt.domain.families.schema.weight_rules import linear_tensors

_NORM = RMSNormSchema(unit_offset=True)

_ATTENTION = attrs.evolve(BIASED_ATTENTION, head_dim=ConfigField("head_dim", 256))
_ATTENTION_2 = attrs.evolve(
    _ATTENTION,
    scale_from=ConfigField("query_pre_attn_scalar", 256),
    sliding_window=SlidingWindowSchema(
        size=ConfigField("sliding_window", 4096), pattern=ConfigField("sliding_window_pattern", 2)
    ),
    attn_logit_softcap=ConfigField("attn_logit_softcapping", 50.0, nullable=True),
)
_ATTENTION_3 = attrs.evolve(
    _ATTENTION_2,
    qk_norm=QkNormSchema(norm=_NORM),
    sliding_window=SlidingWindowSchema(
        size=ConfigField("sliding_window", 4096), pattern=ConfigField("sliding_window_pattern", 6)
    ),
    rope=RopeSchema(
        theta=ConfigField("rope_theta", 1_000_000.0),
        local_theta=ConfigField("rope_local_base_freq", 10_000.0),
    ),
    attn_logit_softcap=ConfigField("attn_logit_softcapping", None),
)

GEMMA = attrs.evolve(
    LLAMA,
    model_type="gemma",
    attribute_map={"hidden_act": "hidden_activation"},
    attention=_ATTENTION,
    mlp=GatedMLPSchema(activation=ConfigField("hidden_act", "gelu_pytorch_tanh")),
    norm=_NORM,
    scale_embedding=True,
    tie_word_embeddings=ConfigField("tie_word_embeddings", default=True),
    context_length=ConfigField("max_position_embeddings", 8192),
    unsupported_settings=(*LLAMA.unsupported_settings, "use_bidirectional_attention"),
)

GEMMA2 = attrs.evolve(
    GEMMA,
    model_type="gemma2",
    attention=_ATTENTION_2,
    residual=ResidualSchema(post_norm=True),
    final_logit_softcap=ConfigField("final_logit_softcapping", 30.0, nullable=True),
    weights=(
        *EMBEDDING_WEIGHTS,
        *ATTENTION_WEIGHTS,
        *GATED_MLP_WEIGHTS,
        *linear_tensors("norm_1", "input_layernorm"),
        *linear_tensors("post_attention_norm", "post_attention_layernorm"),
        *linear_tensors("norm_2", "pre_feedforward_layernorm"),
        *linear_tensors("post_mlp_norm", "post_feedforward_layernorm"),
    ),
)

VAULTGEMMA = attrs.evolve(
    GEMMA2,
    model_type="vaultgemma",
    residual=ResidualSchema(),
    weights=(
        *EMBEDDING_WEIGHTS,
        *ATTENTION_WEIGHTS,
        *GATED_MLP_WEIGHTS,
        *linear_tensors("norm_1", "input_layernorm"),
        *linear_tensors("norm_2", "pre_feedforward_layernorm"),
    ),
)

# The text config of multimodal Gemma 3 omits all settings with default values, sizes included.
_HF_DEFAULTS = {"num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": 262_208}


def _normalize_config(config: HFConfig) -> Mapping[str, object]:
    return {name: config.get(ConfigField(name, usual)) for name, usual in _HF_DEFAULTS.items()}


GEMMA3_TEXT = attrs.evolve(
    GEMMA2,
    model_type="gemma3_text",
    normalize_config=_normalize_config,
    attention=_ATTENTION_3,
    final_logit_softcap=ConfigField("final_logit_softcapping", None),
    context_length=ConfigField("max_position_embeddings", 131_072),
    weights=(*GEMMA2.weights, *QK_NORM_WEIGHTS),
)
