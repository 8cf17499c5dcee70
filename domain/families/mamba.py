"""Mamba 1 and 2, and Falcon Mamba: layers that consist of a selective state space only.

transformers adds residuals in float32 (`residual_in_fp32`); this library adds them in the model's dtype.

Source: Gu & Dao 2023, arXiv:2312.00752; Dao & Gu 2024, arXiv:2405.21060; Zuo et al. 2024, arXiv:2410.05355.
"""

import attrs

from litgpt.domain.families.schema.family import Family
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.hybrid import AbsentMLPSchema
from litgpt.domain.families.schema.mamba import Mamba2Schema, MambaSchema
from litgpt.domain.families.schema.norm import RMSNormSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor, linear_tensors, model_tensors

_BIAS = ConfigField("use_bias", default=False)
_NORM = RMSNormSchema(eps=ConfigField("layer_norm_epsilon", 1e-5))
_LAYER = "backbone.layers.{}"

MAMBA2 = Family(
    model_type="mamba2",
    attention=Mamba2Schema(
        num_heads=ConfigField("num_heads", 128),
        num_groups=ConfigField("n_groups", 8),
        head_dim=ConfigField("head_dim", 64),
        state_size=ConfigField("state_size", 128),
        conv_kernel_size=ConfigField("conv_kernel", 4),
        norm=_NORM,
        conv_bias=ConfigField("use_conv_bias", default=True),
        input_bias=_BIAS,
        output_bias=_BIAS,
    ),
    mlp=AbsentMLPSchema(),
    norm=_NORM,
    # The state has the same size for any number of tokens: the configs have no context length.
    context_length=ConfigField("max_position_embeddings", 2**20),
    prefix_aliases=(("backbone.embedding.", "backbone.embeddings."),),
    weights=(
        *model_tensors("transformer.wte", "backbone.embeddings"),
        *linear_tensors("norm_1", "norm", within=_LAYER),
        *linear_tensors("attn.in_proj", "mixer.in_proj", within=_LAYER),
        *linear_tensors("attn.conv", "mixer.conv1d", within=_LAYER),
        *(
            layer_tensor(f"attn.{name}", f"mixer.{name}", within=_LAYER)
            for name in ("dt_bias", "A_log", "D", "norm.weight")
        ),
        *linear_tensors("attn.out_proj", "mixer.out_proj", within=_LAYER),
        *model_tensors("transformer.ln_f", "backbone.norm_f"),
        *model_tensors("lm_head", "lm_head"),
    ),
)

MAMBA = attrs.evolve(
    MAMBA2,
    model_type="mamba",
    attention=MambaSchema(),
    tie_word_embeddings=ConfigField("tie_word_embeddings", default=True),
    weights=(
        *MAMBA2.weights,
        *linear_tensors("attn.x_proj", "mixer.x_proj", within=_LAYER),
        *linear_tensors("attn.dt_proj", "mixer.dt_proj", within=_LAYER),
    ),
)

FALCON_MAMBA = attrs.evolve(
    MAMBA,
    model_type="falcon_mamba",
    attention=MambaSchema(
        inner_norm=RMSNormSchema(eps=ConfigField("mixer_rms_eps", 1e-6), weight=False),
    ),
)
