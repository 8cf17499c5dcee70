"""Nemotron-H: each layer is a Mamba-2 layer, attention without position embedding, an MLP or experts.

Source: NVIDIA 2025, arXiv:2504.03624.
"""

from collections.abc import Mapping

from litgpt.domain.families.deepseek import deepseek_router
from litgpt.domain.families.schema.attention import AttentionSchema
from litgpt.domain.families.schema.family import Family
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.hybrid import (
    AbsentMixerSchema,
    HybridSchema,
    MLPLayersSchema,
    current_layer_types,
)
from litgpt.domain.families.schema.mamba import Mamba2Schema
from litgpt.domain.families.schema.mlp import MLPSchema
from litgpt.domain.families.schema.moe import MoESchema
from litgpt.domain.families.schema.norm import RMSNormSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor, linear_tensors, model_tensors

_PATTERN = ConfigField("hybrid_override_pattern", None)
_LETTERS = {"M": "linear_attention", "*": "full_attention", "-": "mlp", "E": "moe"}
_DEFAULT = ["linear_attention", "moe", "full_attention", "mlp"]
# Names of settings in early configs, which take precedence.
_EARLY_NAMES = {
    "mamba_n_groups": "n_groups",
    "mamba_d_conv": "conv_kernel",
    "mamba_dt_min": "time_step_min",
    "mamba_conv_bias": "use_conv_bias",
}


def _layer_types(config: HFConfig) -> list[str]:
    """Return the type of each layer, from a list or from a pattern such as `M-M*-`."""
    kinds = config.get(ConfigField("layers_block_type", config.get(ConfigField("layer_types", None))))
    if kinds is not None:
        if not isinstance(kinds, list):
            config.raise_invalid(ConfigField("layers_block_type"), "a list with an entry for each layer")
        return list(map(str, kinds))
    if (pattern := config.get(_PATTERN)) is None:
        return _DEFAULT
    if not isinstance(pattern, str) or not set(pattern) <= set(_LETTERS):
        config.raise_invalid(_PATTERN, "a text of the letters M, *, - and E")
    return [_LETTERS[letter] for letter in pattern]


def _num_layers(config: HFConfig) -> int:
    return len(_layer_types(config))


def _settings(config: HFConfig) -> Mapping[str, object]:
    early = {current: config.values[name] for name, current in _EARLY_NAMES.items() if config.has_value(name)}
    return {"layer_types": current_layer_types(_layer_types(config)), **early}


_BIAS, _MLP_BIAS = ConfigField("use_bias", default=False), ConfigField("mlp_bias", default=False)
_NORM = RMSNormSchema(eps=ConfigField("layer_norm_epsilon", 1e-5))
_ACTIVATION = ConfigField("mlp_hidden_act", "relu2")
_LAYER = "backbone.layers.{}"

NEMOTRON_H = Family(
    model_type="nemotron_h",
    num_layers=_num_layers,
    normalize_config=_settings,
    attention=HybridSchema(
        mixers={
            "full_attention": AttentionSchema(
                num_kv_heads=ConfigField("num_key_value_heads", 8),
                head_dim=ConfigField("head_dim", 128),
                rope=None,
            ),
            "linear_attention": Mamba2Schema(
                num_heads=ConfigField("mamba_num_heads", 128),
                num_groups=ConfigField("n_groups", 8),
                head_dim=ConfigField("mamba_head_dim", 64),
                state_size=ConfigField("ssm_state_size", 128),
                conv_kernel_size=ConfigField("conv_kernel", 4),
                activation=ConfigField("mamba_hidden_act", "silu"),
                norm=_NORM,
                conv_bias=ConfigField("use_conv_bias", default=True),
                input_bias=_BIAS,
                output_bias=_BIAS,
                min_time_step=ConfigField("time_step_min", 0.001),
            ),
            "mlp": AbsentMixerSchema(),
            "moe": AbsentMixerSchema(),
        },
        default_type=lambda *_: "linear_attention",
    ),
    mlp=MLPLayersSchema(
        dense=MLPSchema(
            activation=_ACTIVATION,
            bias=_MLP_BIAS,
            intermediate_size=ConfigField("intermediate_size", 21_504),
        ),
        moe=MoESchema(
            num_experts=(ConfigField("n_routed_experts", 8),),
            num_experts_per_token=ConfigField("num_experts_per_tok", 2),
            expert=MLPSchema(
                activation=_ACTIVATION,
                bias=False,
                intermediate_size=ConfigField("moe_intermediate_size", 7688),
            ),
            router=deepseek_router(routed_scaling_factor=1.0),
            shared_expert=MLPSchema(
                activation=_ACTIVATION,
                bias=_MLP_BIAS,
                intermediate_size=ConfigField("moe_shared_expert_intermediate_size", 7688),
            ),
        ),
    ),
    norm=_NORM,
    tie_word_embeddings=False,
    context_length=ConfigField("max_position_embeddings", 4096),
    prefix_aliases=(("model.", "backbone."),),
    # Layers for multi-token prediction.
    unused_tensors=("mtp.*",),
    unsupported_settings=("quantization_config", "moe_latent_size"),
    weights=(
        *model_tensors("transformer.wte", "backbone.embeddings"),
        *linear_tensors("norm_1", "norm", within=_LAYER),
        *linear_tensors("norm_2", "norm", within=_LAYER),
        *linear_tensors("attn.qkv", "mixer.q_proj", "mixer.k_proj", "mixer.v_proj", within=_LAYER),
        *linear_tensors("attn.proj", "mixer.o_proj", within=_LAYER),
        *linear_tensors("attn.in_proj", "mixer.in_proj", within=_LAYER),
        *linear_tensors("attn.conv", "mixer.conv1d", within=_LAYER),
        *(
            layer_tensor(f"attn.{name}", f"mixer.{name}", within=_LAYER)
            for name in ("dt_bias", "A_log", "D", "norm.weight")
        ),
        *linear_tensors("attn.out_proj", "mixer.out_proj", within=_LAYER),
        *linear_tensors("mlp.fc", "mixer.up_proj", within=_LAYER),
        *linear_tensors("mlp.proj", "mixer.down_proj", within=_LAYER),
        layer_tensor("mlp.gate.weight", "mixer.gate.weight", within=_LAYER),
        layer_tensor("mlp.gate.e_score_correction_bias", "mixer.gate.e_score_correction_bias", within=_LAYER),
        *linear_tensors("mlp.experts.{}.fc", "mixer.experts.{}.up_proj", within=_LAYER),
        *linear_tensors("mlp.experts.{}.proj", "mixer.experts.{}.down_proj", within=_LAYER),
        *linear_tensors("mlp.shared_experts.fc", "mixer.shared_experts.up_proj", within=_LAYER),
        *linear_tensors("mlp.shared_experts.proj", "mixer.shared_experts.down_proj", within=_LAYER),
        *model_tensors("transformer.ln_f", "backbone.norm_f"),
        *model_tensors("lm_head", "lm_head"),
    ),
)
