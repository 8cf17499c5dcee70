"""LFM2 and LFM3: gated short convolutions between layers of grouped-query attention.

LFM2 exists with experts. LFM3 has sliding windows, post-norms and a gate for each head as well.

Source: Liquid AI 2025, "LFM2 Technical Report", arXiv:2511.23404.
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.families.llama import ATTENTION_BIAS, ATTENTION_WEIGHTS, LLAMA, QK_NORM_WEIGHTS
from litgpt.domain.families.schema.attention import AttentionSchema, SlidingWindowSchema
from litgpt.domain.families.schema.family import ResidualSchema
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.hybrid import HybridSchema, ShortConvSchema
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema, RouterSchema
from litgpt.domain.families.schema.norm import QkNormSchema, RMSNormSchema
from litgpt.domain.families.schema.rope import RopeSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor, linear_tensors, model_tensors

_NORM = RMSNormSchema(eps=ConfigField("norm_eps", 1e-5))


def _older_names(config: HFConfig) -> dict[str, object]:
    """Return the settings that some files have under another name, which takes precedence."""
    names = {"tie_embedding": "tie_word_embeddings", "block_ff_dim": "intermediate_size"}
    return {new: config.get(ConfigField(old)) for old, new in names.items() if config.has_value(old)}


def _normalize_config(config: HFConfig) -> Mapping[str, object]:
    """Return the layer types and the MLP's size, which the config may give in terms of others."""
    settings = _older_names(config)
    size = attrs.evolve(config, values={**config.values, **settings}).integer(
        ConfigField("intermediate_size", 12_288)
    )
    if config.flag(ConfigField("block_auto_adjust_ff_dim", default=True)):
        multiple = config.integer(ConfigField("block_multiple_of", 256))
        size = int(config.number(ConfigField("block_ffn_dim_multiplier", 1.0)) * int(2 * size / 3))
        size = -(-size // multiple) * multiple
    settings["intermediate_size"] = size
    if not config.has_value("layer_types"):
        layers = range(config.integer(ConfigField("num_hidden_layers")))
        full = config.get(ConfigField("full_attn_idxs", list(layers)))
        if not isinstance(full, list):
            config.raise_invalid(ConfigField("full_attn_idxs"), "a list of layers")
        settings["layer_types"] = ["full_attention" if layer in full else "conv" for layer in layers]
    return settings


def _require_layer_types(config: HFConfig, layer: int) -> str:
    del layer
    config.raise_invalid(ConfigField("layer_types", None), "a list with an entry for each layer")


_ATTENTION = AttentionSchema(
    num_kv_heads=ConfigField("num_key_value_heads", 8),
    qk_norm=QkNormSchema(norm=_NORM),
    rope=RopeSchema(theta=ConfigField("rope_theta", 1_000_000.0)),
)
_CONV = ShortConvSchema(
    kernel_size=ConfigField("conv_L_cache", 3), bias=ConfigField("conv_bias", default=False)
)

_EMBEDDING_WEIGHTS = (
    *model_tensors("transformer.wte", "model.embed_tokens"),
    *model_tensors("transformer.ln_f", "model.embedding_norm"),
    *model_tensors("lm_head", "lm_head"),
)
_LAYER_WEIGHTS = (
    *linear_tensors("norm_1", "operator_norm"),
    *linear_tensors("norm_2", "ffn_norm"),
    *linear_tensors("attn.in_proj", "conv.in_proj"),
    *linear_tensors("attn.conv", "conv.conv"),
    *linear_tensors("attn.out_proj", "conv.out_proj"),
    *linear_tensors("mlp.fc_1", "feed_forward.w1"),
    *linear_tensors("mlp.fc_2", "feed_forward.w3"),
    *linear_tensors("mlp.proj", "feed_forward.w2"),
)

LFM2 = attrs.evolve(
    LLAMA,
    model_type="lfm2",
    normalize_config=_normalize_config,
    attention=HybridSchema(
        mixers={"full_attention": _ATTENTION, "conv": _CONV},
        default_type=_require_layer_types,
    ),
    mlp=GatedMLPSchema(),
    norm=_NORM,
    tie_word_embeddings=ConfigField("tie_word_embeddings", default=True),
    context_length=ConfigField("max_position_embeddings", 128_000),
    weights=(
        *_EMBEDDING_WEIGHTS,
        *_LAYER_WEIGHTS,
        *linear_tensors("attn.qkv", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        *linear_tensors("attn.proj", "self_attn.out_proj"),
        *linear_tensors("attn.norm_q", "self_attn.q_layernorm"),
        *linear_tensors("attn.norm_k", "self_attn.k_layernorm"),
    ),
)

LFM2_MOE = attrs.evolve(
    LFM2,
    model_type="lfm2_moe",
    normalize_config=_older_names,
    mlp=MoESchema(
        num_experts=(ConfigField("num_experts", 32),),
        num_experts_per_token=ConfigField("num_experts_per_tok", 4),
        expert=GatedMLPSchema(intermediate_size=ConfigField("moe_intermediate_size", 1792)),
        router=RouterSchema(
            scoring_func="sigmoid",
            norm_topk_prob=ConfigField("norm_topk_prob", default=True),
            routed_scaling_factor=ConfigField("routed_scaling_factor", 1.0),
            score_correction_bias=ConfigField("use_expert_bias", default=True),
        ),
        first_moe_layer=ConfigField("num_dense_layers", 2),
    ),
    weights=(
        *LFM2.weights,
        layer_tensor("mlp.gate.weight", "feed_forward.gate.weight"),
        layer_tensor("mlp.gate.e_score_correction_bias", "feed_forward.expert_bias"),
        layer_tensor("mlp.experts.{}.fc_1.weight", "feed_forward.experts.{}.w1.weight"),
        layer_tensor("mlp.experts.{}.fc_2.weight", "feed_forward.experts.{}.w3.weight"),
        layer_tensor("mlp.experts.{}.proj.weight", "feed_forward.experts.{}.w2.weight"),
    ),
)


def _lfm3_defaults(config: HFConfig) -> Mapping[str, object]:
    """Return the layer types and the RoPE of each, if the config omits them."""
    settings: dict[str, object] = {}
    if not config.has_value("layer_types"):
        period = ("sliding_attention", "conv", "full_attention", "conv")
        layers = range(config.integer(ConfigField("num_hidden_layers")))
        settings["layer_types"] = [period[layer % 4] if layer else "conv" for layer in layers]
    if not config.has_value("rope_parameters"):
        full = {"rope_type": "proportional", "rope_theta": 1_000_000.0, "partial_rotary_factor": 0.5}
        settings["rope_parameters"] = {
            "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
            "full_attention": full,
        }
    return settings


_LFM3_ATTENTION = AttentionSchema(
    qkv_bias=ATTENTION_BIAS,
    output_bias=ATTENTION_BIAS,
    num_kv_heads=ConfigField("num_key_value_heads", 4),
    head_dim=ConfigField("head_dim", 128),
    qk_norm=QkNormSchema(norm=_NORM),
    sliding_window=SlidingWindowSchema(size=ConfigField("sliding_window", 256)),
    head_gate=ConfigField("use_attention_gate", default=True),
)

LFM3 = attrs.evolve(
    LFM2,
    model_type="lfm3",
    attribute_map={"rms_norm_eps": "norm_eps"},
    normalize_config=_lfm3_defaults,
    unsupported_settings=(*LFM2.unsupported_settings, "rope_scaling"),
    attention=HybridSchema(
        mixers={
            "full_attention": _LFM3_ATTENTION,
            "sliding_attention": _LFM3_ATTENTION,
            "conv": attrs.evolve(_CONV, kernel_size=ConfigField("conv_L_cache", 7)),
        },
        default_type=_require_layer_types,
    ),
    residual=ResidualSchema(post_norm=ConfigField("use_sandwich_norm", default=True)),
    weights=(
        *_EMBEDDING_WEIGHTS,
        *_LAYER_WEIGHTS,
        *ATTENTION_WEIGHTS,
        *QK_NORM_WEIGHTS,
        *linear_tensors("attn.head_gate", "self_attn.gate_proj"),
        *linear_tensors("post_attention_norm", "post_operator_norm"),
        *linear_tensors("post_mlp_norm", "post_ffn_norm"),
    ),
)
