"""Apertus: QK-Norm per head, and non-gated MLPs with the trained activation xIELU.

Source: Project Apertus 2025, arXiv:2509.14233.
"""

import attrs

from litgpt.domain.families.llama import (
    ATTENTION_WEIGHTS,
    BIASED_ATTENTION,
    EMBEDDING_WEIGHTS,
    LLAMA,
    QK_NORM_WEIGHTS,
)
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.mlp import MLPSchema
from litgpt.domain.families.schema.norm import QkNormSchema, RMSNormSchema
from litgpt.domain.families.schema.rope import RopeSchema, default_rope_parameters
from litgpt.domain.families.schema.weight_rules import layer_tensor, linear_tensors

_NORM = RMSNormSchema(eps=ConfigField("rms_norm_eps", 1e-5))
_ROPE_PARAMETERS = {
    "rope_type": "llama3",
    "rope_theta": 12_000_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


APERTUS = attrs.evolve(
    LLAMA,
    model_type="apertus",
    normalize_config=default_rope_parameters(_ROPE_PARAMETERS),
    attention=attrs.evolve(
        BIASED_ATTENTION,
        qk_norm=QkNormSchema(norm=_NORM),
        rope=RopeSchema(theta=ConfigField("rope_theta", 12_000_000.0)),
    ),
    mlp=MLPSchema(
        activation=ConfigField("hidden_act", "xielu"),
        bias=False,
        intermediate_size=ConfigField("intermediate_size", 14336),
        has_learned_params=True,
    ),
    norm=_NORM,
    context_length=ConfigField("max_position_embeddings", 65_536),
    unsupported_settings=(*LLAMA.unsupported_settings, "mlp_bias", "post_norm"),
    weights=(
        *EMBEDDING_WEIGHTS,
        *linear_tensors("norm_1", "attention_layernorm"),
        *linear_tensors("norm_2", "feedforward_layernorm"),
        *ATTENTION_WEIGHTS,
        *QK_NORM_WEIGHTS,
        *linear_tensors("mlp.fc", "mlp.up_proj"),
        *linear_tensors("mlp.proj", "mlp.down_proj"),
        layer_tensor("mlp.activation.alpha_p", "mlp.act_fn.alpha_p"),
        layer_tensor("mlp.activation.alpha_n", "mlp.act_fn.alpha_n"),
        layer_tensor("mlp.activation.beta", "mlp.act_fn.beta", scalar=True),
        layer_tensor("mlp.activation.eps", "mlp.act_fn.eps", scalar=True),
    ),
)
