"""DeepSeek V2, V3 and R1, other models with MLA that GGUF names deepseek2, and MiniCPM 3."""

import attrs

from litgpt.adapters.checkpoints.gguf.architecture_map import ArchitectureMap, Config, HeaderField
from litgpt.adapters.checkpoints.gguf.maps.shared_maps import (
    ATTENTION_TENSORS,
    EMBEDDING_TENSORS,
    GATED_MLP_TENSORS,
    LAYER,
    MOE_TENSORS,
    RMS_NORM_EPS,
    ROPE_THETA,
    SCALE_KEYS,
    SIGMOID,
    SIZE_FIELDS,
    SOFTMAX,
    detect_biases,
    moe_intermediate_size,
    require_scoring,
)
from litgpt.adapters.checkpoints.gguf.model import GgufModel
from litgpt.adapters.checkpoints.gguf.rope_scaling import rope_scaling
from litgpt.adapters.checkpoints.gguf.tensor_layout import JoinKVB, TensorLayout, mla_head_dims

# (n_group, topk_group) by number of experts: older headers of V2 (160 experts) and V3 (256) lack these keys,
# and no other model has expert groups.
# Source: the models' own config.json.
_EXPERT_GROUPS = {160: (8, 3), 256: (8, 4)}

_ATTENTION = f"{LAYER}.self_attn"
_SHARED = f"{LAYER}.mlp.shared_experts"

SHARED_EXPERT_TENSORS: dict[str, str | TensorLayout] = {
    "blk.{}.ffn_gate_shexp": f"{_SHARED}.gate_proj",
    "blk.{}.ffn_up_shexp": f"{_SHARED}.up_proj",
    "blk.{}.ffn_down_shexp": f"{_SHARED}.down_proj",
    "blk.{}.exp_probs_b.bias": f"{LAYER}.mlp.gate.e_score_correction_bias",
}


def mla_config(model: GgufModel) -> Config:
    """Return the head sizes of MLA; newer files store the latent projections, older ones keys and values."""
    plain, value = mla_head_dims(model)
    return {
        "num_attention_heads": model.num_heads,
        "num_key_value_heads": model.num_heads,
        "qk_nope_head_dim": plain,
        "qk_rope_head_dim": model.integer("rope.dimension_count"),
        "v_head_dim": value,
    }


def _groups(model: GgufModel) -> tuple[int, int]:
    groups, top_k = model.integer("expert_group_count"), model.integer("expert_group_used_count")
    default = _EXPERT_GROUPS.get(model.integer("expert_count") or 0, (1, 1))
    return default if groups is None or top_k is None else (groups or 1, top_k or 1)


def routing(model: GgufModel) -> Config:
    """Return the settings of expert routing."""
    groups, top_k = _groups(model)
    return {
        "norm_topk_prob": bool(model.metadata.flag(model.key("expert_weights_norm"))),
        "routed_scaling_factor": model.number("expert_weights_scale") or 1.0,
        "n_group": groups,
        "topk_group": top_k,
    }


def _topk_method(model: GgufModel) -> Config:
    return {"topk_method": "greedy" if _groups(model)[0] == 1 else "group_limited_greedy"}


def _q_lora_rank(model: GgufModel) -> Config:
    """Return the rank of the query projection; None if queries are projected directly."""
    return {"q_lora_rank": model.integer("attention.q_lora_rank") or None}


def _rope_scaling(model: GgufModel) -> Config:
    """Return YaRN with `mscale`, of which the header contains a tenth."""
    multiplier = model.number("rope.scaling.yarn_log_multiplier")
    if not multiplier:
        return {}
    scaling = rope_scaling(model)
    if scaling is None or scaling["rope_type"] != "yarn":
        return {}
    all_dim = round(multiplier * 10, 6)
    return {"rope_scaling": {**scaling, "mscale": all_dim, "mscale_all_dim": all_dim}}


_MLA_TENSORS: dict[str, str | TensorLayout] = {
    **EMBEDDING_TENSORS,
    **ATTENTION_TENSORS,
    **GATED_MLP_TENSORS,
    "blk.{}.attn_q_a": f"{_ATTENTION}.q_a_proj",
    "blk.{}.attn_q_a_norm": f"{_ATTENTION}.q_a_layernorm",
    "blk.{}.attn_q_b": f"{_ATTENTION}.q_b_proj",
    "blk.{}.attn_kv_a_mqa": f"{_ATTENTION}.kv_a_proj_with_mqa",
    "blk.{}.attn_kv_a_norm": f"{_ATTENTION}.kv_a_layernorm",
    "blk.{}.attn_kv_b": f"{_ATTENTION}.kv_b_proj",
}
_BIASES = detect_biases(attention_bias=("attn_q_a", "attn_kv_a_mqa", "attn_output"))

_V3 = ArchitectureMap(
    architecture="deepseek2",
    model_type="deepseek_v3",
    fields=(
        *SIZE_FIELDS,
        RMS_NORM_EPS,
        ROPE_THETA,
        HeaderField("attention.kv_lora_rank", "kv_lora_rank", required=True),
        HeaderField("expert_count", "n_routed_experts", required=True),
        HeaderField("expert_used_count", "num_experts_per_tok", required=True),
        HeaderField("expert_shared_count", "n_shared_experts", required=True),
        HeaderField("leading_dense_block_count", "first_k_dense_replace", default=0),
    ),
    constants={"hidden_act": "silu", "rope_interleave": True},
    attention=mla_config,
    extra=(
        _q_lora_rank,
        moe_intermediate_size,
        routing,
        _rope_scaling,
        _BIASES,
    ),
    unsupported_keys=(*SCALE_KEYS, "attention.clamp_kqv", "attention.temperature_scale"),
    tensor_map={
        **_MLA_TENSORS,
        **MOE_TENSORS,
        **SHARED_EXPERT_TENSORS,
        "blk.{}.attn_k_b.weight": JoinKVB(f"{_ATTENTION}.kv_b_proj.weight", "keys"),
        "blk.{}.attn_v_b.weight": JoinKVB(f"{_ATTENTION}.kv_b_proj.weight", "values"),
    },
)

DEEPSEEK2 = attrs.evolve(
    _V3,
    model_type="deepseek_v2",
    constants={"hidden_act": "silu"},
    extra=(*_V3.extra, require_scoring(SOFTMAX, weighed=True), _topk_method),
    variants=((lambda source: source.integer("expert_gating_func") == SIGMOID, _V3),),
)


def _minicpm3_heads(model: GgufModel) -> Config:
    """Return the head sizes; that of values is the hidden size over the number of heads."""
    rotated = model.integer("rope.dimension_count") or 0
    return {
        "num_attention_heads": model.num_heads,
        "num_key_value_heads": model.num_heads,
        "qk_nope_head_dim": (model.integer("attention.key_length") or 0) - rotated,
        "qk_rope_head_dim": rotated,
    }


MINICPM3 = ArchitectureMap(
    architecture="minicpm3",
    model_type="minicpm3",
    fields=(
        *SIZE_FIELDS,
        RMS_NORM_EPS,
        ROPE_THETA,
        HeaderField("attention.kv_lora_rank", "kv_lora_rank", required=True),
    ),
    # The scales of the only model, for which GGUF has no keys; llama.cpp has them as constants.
    constants={"hidden_act": "silu", "scale_emb": 12, "scale_depth": 1.4, "dim_model_base": 256},
    attention=_minicpm3_heads,
    extra=(_q_lora_rank, _BIASES),
    unsupported_keys=SCALE_KEYS,
    tensor_map=_MLA_TENSORS,
)
