"""DeepSeek V2, V3 and R1, and the models that share their latent attention, all called deepseek2."""

import attrs

from litgpt.adapters.checkpoints.gguf.architectures.words import (
    ATTENTION,
    BASE,
    GATED,
    LAYER,
    OUTSIDE,
    RMS,
    ROUTED,
    SCALES,
    SIGMOID,
    SIZES,
    SOFTMAX,
    biases,
    expert_size,
    scored,
)
from litgpt.adapters.checkpoints.gguf.dialect import Config, Dialect, Setting
from litgpt.adapters.checkpoints.gguf.placing import Latent, Placing, latent_sizes
from litgpt.adapters.checkpoints.gguf.rope import rope_scaling
from litgpt.adapters.checkpoints.gguf.source import Source

# Into how many groups experts are dealt and how many of those are chosen from, by the number of experts:
# older headers do not say it of V2 (160 experts) and V3 (256), and no other model has groups.
# Source: the models' own config.json.
_GROUPS = {160: (8, 3), 256: (8, 4)}

_ATTENTION = f"{LAYER}.self_attn"
_SHARED = f"{LAYER}.mlp.shared_experts"

SHARED: dict[str, str | Placing] = {
    "blk.{}.ffn_gate_shexp": f"{_SHARED}.gate_proj",
    "blk.{}.ffn_up_shexp": f"{_SHARED}.up_proj",
    "blk.{}.ffn_down_shexp": f"{_SHARED}.down_proj",
    "blk.{}.exp_probs_b.bias": f"{LAYER}.mlp.gate.e_score_correction_bias",
}


def latent_attention(source: Source) -> Config:
    """Return the sizes of a latent attention: newer files keep its vector, older ones keys and values."""
    plain, value = latent_sizes(source)
    return {
        "num_attention_heads": source.heads,
        "num_key_value_heads": source.heads,
        "qk_nope_head_dim": plain,
        "qk_rope_head_dim": source.integer("rope.dimension_count"),
        "v_head_dim": value,
    }


def _groups(source: Source) -> tuple[int, int]:
    """Return into how many groups experts are dealt, and how many of those are chosen from."""
    groups, chosen = source.integer("expert_group_count"), source.integer("expert_group_used_count")
    usual = _GROUPS.get(source.integer("expert_count") or 0, (1, 1))
    return usual if groups is None or chosen is None else (groups or 1, chosen or 1)


def routing(source: Source) -> Config:
    """Return how experts are chosen and weighed."""
    groups, chosen = _groups(source)
    return {
        "norm_topk_prob": bool(source.metadata.flag(source.key("expert_weights_norm"))),
        "routed_scaling_factor": source.number("expert_weights_scale") or 1.0,
        "n_group": groups,
        "topk_group": chosen,
    }


def _method(source: Source) -> Config:
    """Return what V2 calls the way experts are chosen."""
    return {"topk_method": "greedy" if _groups(source)[0] == 1 else "group_limited_greedy"}


def _queries(source: Source) -> Config:
    """Return the size of the vector that queries are made of; null where they are made directly."""
    return {"q_lora_rank": source.integer("attention.q_lora_rank") or None}


def _stretched(source: Source) -> Config:
    """Return the scaling with what YaRN multiplies scores by: a tenth of it is in the header."""
    multiplier = source.number("rope.scaling.yarn_log_multiplier")
    if not multiplier:
        return {}
    scaling = rope_scaling(source)
    if scaling is None or scaling["rope_type"] != "yarn":
        return {}
    all_dim = round(multiplier * 10, 6)
    return {"rope_scaling": {**scaling, "mscale": all_dim, "mscale_all_dim": all_dim}}


_V3 = Dialect(
    architecture="deepseek2",
    model_type="deepseek_v3",
    settings=(
        *SIZES,
        RMS,
        BASE,
        Setting("attention.kv_lora_rank", "kv_lora_rank", required=True),
        Setting("expert_count", "n_routed_experts", required=True),
        Setting("expert_used_count", "num_experts_per_tok", required=True),
        Setting("expert_shared_count", "n_shared_experts", required=True),
        Setting("leading_dense_block_count", "first_k_dense_replace", default=0),
    ),
    constants={"hidden_act": "silu", "rope_interleave": True},
    attention=latent_attention,
    more=(
        _queries,
        expert_size,
        routing,
        _stretched,
        biases(attention_bias=("attn_q_a", "attn_kv_a_mqa", "attn_output")),
    ),
    refused=(*SCALES, "attention.clamp_kqv", "attention.temperature_scale"),
    names={
        **OUTSIDE,
        **ATTENTION,
        **GATED,
        **ROUTED,
        **SHARED,
        "blk.{}.attn_q_a": f"{_ATTENTION}.q_a_proj",
        "blk.{}.attn_q_a_norm": f"{_ATTENTION}.q_a_layernorm",
        "blk.{}.attn_q_b": f"{_ATTENTION}.q_b_proj",
        "blk.{}.attn_kv_a_mqa": f"{_ATTENTION}.kv_a_proj_with_mqa",
        "blk.{}.attn_kv_a_norm": f"{_ATTENTION}.kv_a_layernorm",
        "blk.{}.attn_kv_b": f"{_ATTENTION}.kv_b_proj",
        "blk.{}.attn_k_b.weight": Latent(f"{_ATTENTION}.kv_b_proj.weight", "keys"),
        "blk.{}.attn_v_b.weight": Latent(f"{_ATTENTION}.kv_b_proj.weight", "values"),
    },
)

DEEPSEEK2 = attrs.evolve(
    _V3,
    model_type="deepseek_v2",
    constants={"hidden_act": "silu"},
    more=(*_V3.more, scored(SOFTMAX, weighed=True), _method),
    instead=((lambda source: source.integer("expert_gating_func") == SIGMOID, _V3),),
)
