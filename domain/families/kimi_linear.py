"""Kimi Linear and Ling 3: Kimi Delta Attention between layers of MLA, with DeepSeek V3's experts.

Kimi Linear's MLA has no position embedding; Ling 3's has a gate for each head.

Source: Kimi Team 2025, arXiv:2510.26692.
"""

from collections.abc import Mapping, Sequence

import attrs

from litgpt.domain.families.deepseek import DEEPSEEK_V3, MLA_WEIGHTS, SHARED_EXPERT_WEIGHTS, deepseek_router
from litgpt.domain.families.llama import EMBEDDING_WEIGHTS, GATED_MLP_WEIGHTS, LLAMA, NORM_WEIGHTS
from litgpt.domain.families.qwen2 import EXPERT_WEIGHTS
from litgpt.domain.families.schema.attention import MLASchema
from litgpt.domain.families.schema.hf_config import ConfigField, HFConfig
from litgpt.domain.families.schema.hybrid import HybridSchema, KimiDeltaSchema, full_attention_every
from litgpt.domain.families.schema.mlp import GatedMLPSchema
from litgpt.domain.families.schema.moe import MoESchema
from litgpt.domain.families.schema.norm import RMSNormSchema
from litgpt.domain.families.schema.rope import RopeSchema
from litgpt.domain.families.schema.weight_rules import layer_tensor, linear_tensors, model_tensors
from litgpt.domain.validators import is_number
from litgpt.domain.weights.mapping import WeightMapping

_ATTRIBUTES = {
    "max_position_embeddings": "model_max_length",
    "norm_topk_prob": "moe_renormalize",
    "n_group": "num_expert_group",
    "num_local_experts": "num_experts",
    "num_experts_per_tok": "num_experts_per_token",
    "n_shared_experts": "num_shared_experts",
}
_LATENT_SIZES = {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128}


def _defaults(config: HFConfig, dense_layers: int, **defaults: int) -> dict[str, object]:
    """Return the sizes, with their defaults, and the MoE layers."""
    sizes = {**_LATENT_SIZES, **defaults}
    settings: dict[str, object] = {name: config.get(ConfigField(name, sizes[name])) for name in sizes}
    layers = range(config.integer(ConfigField("num_hidden_layers")))
    first = config.get(ConfigField("first_k_dense_replace", dense_layers))
    key = ConfigField("mlp_layer_types", ["sparse" if layer >= first else "dense" for layer in layers])
    kinds = config.get(key)
    if not isinstance(kinds, list) or len(kinds) != len(layers) or not {*kinds} <= {"dense", "sparse"}:
        config.raise_invalid(key, "a list with 'dense' or 'sparse' for each layer")
    settings["moe_layers"] = [layer for layer in layers if kinds[layer] == "sparse"]
    return settings


def _layer_types(config: HFConfig, linear: HFConfig) -> Sequence[str]:
    """Return the types of layers, which published configs number from 1."""
    count = config.integer(ConfigField("num_hidden_layers"))
    kinds = ["" if layer % 4 or not layer else "full_attention" for layer in range(count)]
    lists = {"full_attention": "full_attn_layers", "linear_attention": "kda_layers"}
    if all(linear.has_value(name) for name in lists.values()):
        for kind, name in lists.items():
            numbers = linear.get(ConfigField(name))
            if not isinstance(numbers, list) or not {*numbers} <= {*range(1, count + 1)}:
                linear.raise_invalid(ConfigField(name), f"a list of layers from 1 to {count}")
            for number in numbers:
                kinds[number - 1] = kind
    return [kind or "linear_attention" for kind in kinds]


def _kimi_config(config: HFConfig) -> Mapping[str, object]:
    for name, usual in (("mla_use_nope", True), ("moe_router_activation_func", "sigmoid")):
        if (value := config.get(ConfigField(name, usual))) != usual:
            raise config.unsupported(name, value)
    linear = attrs.evolve(config, values=config.mapping(ConfigField("linear_attn_config")), attribute_map={})
    settings = _defaults(config, 1, moe_intermediate_size=1024)
    sizes = {"head_dim": "head_dim", "num_heads": "num_heads", "short_conv_kernel_size": "conv_kernel_dim"}
    for name, own in sizes.items():
        if linear.has_value(name):
            settings[f"linear_{own}"] = linear.get(ConfigField(name))
    if not config.has_value("layer_types"):
        settings["layer_types"] = _layer_types(config, linear)
    # MLA does not rotate, and its scores are scaled by the size of the heads alone.
    return {**settings, "rope_parameters": None, "rope_scaling": None}


_MOE = MoESchema(
    num_experts=(ConfigField("num_local_experts", 256),),
    num_experts_per_token=ConfigField("num_experts_per_tok", 8),
    router=deepseek_router(routed_scaling_factor=2.446),
    shared_expert=GatedMLPSchema(intermediate_size=ConfigField("moe_intermediate_size")),
    num_shared_experts=ConfigField("n_shared_experts", 1),
    moe_layers=ConfigField("moe_layers"),
)

_PROJECTIONS = (("fc_1", "gate_proj"), ("fc_2", "up_proj"), ("proj", "down_proj"))
_DELTA_WEIGHTS = (
    *linear_tensors("attn.qkv", *(f"self_attn.{part}_proj" for part in "qkv")),
    layer_tensor("attn.conv.weight", *(f"self_attn.{part}_conv1d.weight" for part in "qkv")),
    *(
        layer_tensor(f"attn.{name}.weight", f"self_attn.{name}.weight")
        for name in ("f_a_proj", "f_b_proj", "g_a_proj", "g_b_proj", "f_proj", "g_proj", "b_proj")
    ),
    layer_tensor("attn.dt_bias", "self_attn.dt_bias"),
    layer_tensor("attn.norm.weight", "self_attn.o_norm.weight"),
)

KIMI_LINEAR = attrs.evolve(
    DEEPSEEK_V3,
    model_type="kimi_linear",
    attribute_map=_ATTRIBUTES,
    normalize_config=_kimi_config,
    attention=HybridSchema(
        mixers={
            "full_attention": MLASchema(q_lora_rank=ConfigField("q_lora_rank", None), rotated=False),
            "linear_attention": KimiDeltaSchema(
                head_dim=ConfigField("linear_head_dim", 128),
                num_heads=ConfigField("linear_num_heads", 32),
                conv_kernel_size=ConfigField("linear_conv_kernel_dim", 4),
                norm=RMSNormSchema(eps=ConfigField("rms_norm_eps", 1e-5)),
                low_rank_gates=True,
            ),
        },
        default_type=full_attention_every(4),  # _kimi_config sets layer_types
    ),
    mlp=_MOE,
    norm=RMSNormSchema(eps=ConfigField("rms_norm_eps", 1e-5)),
    context_length=ConfigField("max_position_embeddings", 1_048_576),
    weights=(
        *EMBEDDING_WEIGHTS,
        *NORM_WEIGHTS,
        *_DELTA_WEIGHTS,
        layer_tensor("attn.A_log", "self_attn.A_log", unit_dims=(2, 1)),
        *MLA_WEIGHTS,
        *GATED_MLP_WEIGHTS,
        layer_tensor("mlp.gate.weight", "block_sparse_moe.gate.weight"),
        layer_tensor("mlp.gate.e_score_correction_bias", "block_sparse_moe.gate.e_score_correction_bias"),
        layer_tensor("mlp.experts.{}.fc_1.weight", "block_sparse_moe.experts.{}.w1.weight"),
        layer_tensor("mlp.experts.{}.fc_2.weight", "block_sparse_moe.experts.{}.w3.weight"),
        layer_tensor("mlp.experts.{}.proj.weight", "block_sparse_moe.experts.{}.w2.weight"),
        *(
            layer_tensor(f"mlp.shared_experts.{own}.weight", f"block_sparse_moe.shared_experts.{name}.weight")
            for own, name in _PROJECTIONS
        ),
    ),
    # transformers saves the dense MLPs with the prefix of the experts.
    alternative_weights=tuple(
        layer_tensor(f"mlp.{own}.weight", f"block_sparse_moe.{name}.weight") for own, name in _PROJECTIONS
    ),
)


def _ling_config(config: HFConfig) -> Mapping[str, object]:
    # In a saved config, `head_dim` is that of the rotated part of MLA's heads, and `linear_head_dim` the own.
    size = config.get(ConfigField("linear_head_dim", config.get(ConfigField("head_dim", 128))))
    settings = _defaults(config, 2, moe_intermediate_size=768)
    return {**settings, "linear_head_dim": size}


def _lower_bound(config: HFConfig) -> float | None:
    key = ConfigField("kda_lower_bound", -5.0)
    if not config.flag(ConfigField("kda_safe_gate", default=True)):
        return None
    if not is_number(bound := config.get(key)) or not -100 < bound < 0:
        config.raise_invalid(key, "a number between -100 and 0")
    return float(bound)


def _ling_weights(rules: Sequence[WeightMapping]) -> tuple[WeightMapping, ...]:
    """Return rules with the names of Ling's attention."""
    names = {"self_attn.": "attention.", "attention.o_proj": "attention.dense"}
    renamed = []
    for rule in rules:
        sources = [name for name in rule.hf_names if isinstance(name, str)]
        for usual, own in names.items():
            sources = [name.replace(usual, own) for name in sources]
        renamed.append(attrs.evolve(rule, hf_names=tuple(sources)))
    return tuple(renamed)


BAILING_HYBRID = attrs.evolve(
    DEEPSEEK_V3,
    model_type="bailing_hybrid",
    attribute_map=_ATTRIBUTES,
    normalize_config=_ling_config,
    attention=HybridSchema(
        mixers={
            "full_attention": MLASchema(
                q_lora_rank=ConfigField("q_lora_rank", None),
                rope=RopeSchema(theta=ConfigField("rope_theta", 6_000_000.0), interleaved=True),
                head_gate=True,
            ),
            "linear_attention": KimiDeltaSchema(
                head_dim=ConfigField("linear_head_dim"),
                num_heads=ConfigField("num_attention_heads"),
                conv_kernel_size=ConfigField("short_conv_kernel_size", 4),
                norm=RMSNormSchema(),
                decay_lower_bound=_lower_bound,
            ),
        },
        default_type=full_attention_every(ConfigField("layer_group_size", 6)),
    ),
    mlp=attrs.evolve(
        _MOE,
        num_experts=(ConfigField("num_local_experts", 512),),
        router=attrs.evolve(
            _MOE.router,
            routed_scaling_factor=ConfigField("routed_scaling_factor", 2.5),
            n_group=ConfigField("n_group", 8),
            topk_group=ConfigField("topk_group", 4),
        ),
    ),
    context_length=ConfigField("max_position_embeddings", 262_144),
    # The extra layer is for multi-token prediction (training and speculative decoding).
    unused_tensors=(*LLAMA.unused_tensors, "model.layers.42.*"),
    weights=(
        *model_tensors("transformer.wte", "model.word_embeddings"),
        *model_tensors("transformer.ln_f", "model.norm"),
        *model_tensors("lm_head", "lm_head"),
        *NORM_WEIGHTS,
        *_ling_weights((*_DELTA_WEIGHTS, layer_tensor("attn.A_log", "self_attn.A_log"), *MLA_WEIGHTS)),
        *GATED_MLP_WEIGHTS,
        *EXPERT_WEIGHTS,
        *SHARED_EXPERT_WEIGHTS,
        layer_tensor("mlp.gate.e_score_correction_bias", "mlp.gate.expert_bias"),
    ),
)
