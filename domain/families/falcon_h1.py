"""Falcon-H1: attention and Mamba-2 in parallel in each layer, with a factor for each projection.

Source: Zuo et al. 2025, arXiv:2507.22448.
"""

import attrs

from litgpt.domain.families.granite_hybrid import BAMBA
from litgpt.domain.families.llama import BIASED_ATTENTION, LLAMA
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.hybrid import ParallelMixerSchema
from litgpt.domain.families.schema.mamba import Mamba2Schema
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.norm import RMSNormSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor, linear_tensors

_NORM = RMSNormSchema(eps=ConfigField("rms_norm_eps", 1e-5))

FALCON_H1 = attrs.evolve(
    LLAMA,
    model_type="falcon_h1",
    attention=ParallelMixerSchema(
        attention=attrs.evolve(BIASED_ATTENTION, num_kv_heads=ConfigField("num_key_value_heads", 8)),
        state_space=Mamba2Schema(
            inner_size=ConfigField("mamba_d_ssm", 1024, nullable=True),
            norm=_NORM,
            has_norm=ConfigField("mamba_rms_norm", default=False),
            norm_before_gate=ConfigField("mamba_norm_before_gate", default=True),
            output_bias=ConfigField("projectors_bias", default=False),
            part_scales=ConfigField("ssm_multipliers", None),
        ),
        key_scale=ConfigField("key_multiplier", 1.0),
        input_scales=(ConfigField("attention_in_multiplier", 1.0), ConfigField("ssm_in_multiplier", 1.0)),
        output_scales=(ConfigField("attention_out_multiplier", 1.0), ConfigField("ssm_out_multiplier", 1.0)),
    ),
    mlp=GatedMLPSchema(
        bias=ConfigField("mlp_bias", default=False), scales=ConfigField("mlp_multipliers", None)
    ),
    norm=_NORM,
    embedding_scale=ConfigField("embedding_multiplier", 1.0),
    logit_scale=ConfigField("lm_head_multiplier", 1.0),
    context_length=ConfigField("max_position_embeddings", 8192),
    weights=(
        *BAMBA.weights,
        *linear_tensors("attn.attention.qkv", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        *linear_tensors("attn.attention.proj", "self_attn.o_proj"),
        *linear_tensors("attn.state_space.in_proj", "mamba.in_proj"),
        *linear_tensors("attn.state_space.conv", "mamba.conv1d"),
        *(
            layer_tensor(f"attn.state_space.{name}", f"mamba.{name}")
            for name in ("dt_bias", "A_log", "D", "norm.weight")
        ),
        *linear_tensors("attn.state_space.out_proj", "mamba.out_proj"),
    ),
)
