"""DeepSeek V3 and R1, and the models that share its latent attention. GGUF calls all of them deepseek2."""

from litgpt.adapters.checkpoints.gguf.architectures.words import (
    ATTENTION,
    BASE,
    GATED,
    LAYER,
    OUTSIDE,
    RMS,
    ROUTED,
    SCALES,
    SIZES,
    biases,
    expert_size,
)
from litgpt.adapters.checkpoints.gguf.dialect import Config, Dialect, Setting
from litgpt.adapters.checkpoints.gguf.placing import Latent, Placing, latent_sizes
from litgpt.adapters.checkpoints.gguf.rope import rope_scaling
from litgpt.adapters.checkpoints.gguf.source import Source

# GGUF's numbers for how experts are scored.
SIGMOID = 2

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


def routing(source: Source) -> Config:
    """Return how experts are chosen and weighed.

    Raises:
        UnsupportedModel: They are not scored by a sigmoid, as those of V3 are.

    """
    function = source.integer("expert_gating_func")
    if function != SIGMOID:
        reason = f"its experts are scored by function {function}, which is not implemented."
        raise source.metadata.refuse(reason)
    normalised = source.metadata.flag(source.key("expert_weights_norm"))
    return {
        "norm_topk_prob": bool(normalised),
        "routed_scaling_factor": source.number("expert_weights_scale") or 1.0,
        "n_group": source.integer("expert_group_count") or 1,
        "topk_group": source.integer("expert_group_used_count") or 1,
    }


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


DEEPSEEK2 = Dialect(
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
