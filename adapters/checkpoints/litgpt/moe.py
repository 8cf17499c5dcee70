"""Translate LitGPT's settings of MoE families to Hugging Face configs."""

from collections.abc import Mapping

from litgpt.adapters.checkpoints.litgpt.config import LitGptConfig
from litgpt.domain.errors import CorruptFile
from litgpt.domain.formatting.bounded_text import short_repr
from litgpt.domain.validators import is_integer

# DeepSeek V3 hardcodes these two settings, so its config does not contain them.
_LATENT_EPS = 1e-6
_GROUP_SCORE_TOP_K = 2

_LATENT_SIZES = ("q_lora_rank", "kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim")


def mixtral(config: LitGptConfig, dense: Mapping[str, object]) -> dict[str, object]:
    """Return the config of a Mixtral model, from that of a Mistral model."""
    _check_plain_choice(config)
    if _dense_layers(config):
        raise config.unsupported("first_k_dense_replace")
    return {
        **dense,
        "intermediate_size": _expert_size(config),
        "num_local_experts": config.integer("n_expert"),
        "num_experts_per_tok": config.integer("n_expert_per_token"),
    }


def qwen3_moe(config: LitGptConfig, dense: Mapping[str, object]) -> dict[str, object]:
    """Return the config of a Qwen3-MoE model, from that of a dense Qwen3 model."""
    _check_plain_choice(config)
    return {
        **dense,
        "moe_intermediate_size": _expert_size(config),
        "num_experts": config.integer("n_expert"),
        "num_experts_per_tok": config.integer("n_expert_per_token"),
        # Without groups LitGPT ignores its setting of this name and normalizes the weights.
        "norm_topk_prob": True,
        "decoder_sparse_step": 1,
        "mlp_only_layers": list(range(_dense_layers(config))),
        "use_sliding_window": False,
    }


def deepseek(config: LitGptConfig) -> dict[str, object]:
    """Return the config of a DeepSeek V3 model."""
    latent = config["latent_attention"]
    if not isinstance(latent, Mapping) or set(latent) != set(_LATENT_SIZES):
        raise config.unsupported("latent_attention")
    for name, value in latent.items():
        if not is_integer(value, 1):
            raise CorruptFile(config.where, f"{name} must be a positive integer, not {short_repr(value)}.")
    if config["norm_eps"] != _LATENT_EPS:
        raise config.unsupported("norm_eps")
    if config.num_kv_heads != config.integer("n_head"):
        raise config.unsupported("n_query_groups")
    head_size = latent["qk_rope_head_dim"] + latent["qk_nope_head_dim"]
    if config["attention_scores_scalar"] not in (None, head_size):
        raise config.unsupported("attention_scores_scalar")
    if not config["n_expert_groups"]:  # otherwise LitGPT routes as Mixtral does
        raise config.unsupported("n_expert_groups")
    if not config["n_shared_expert"]:
        raise config.unsupported("n_shared_expert")
    if config["n_topk_scores_per_group"] != _GROUP_SCORE_TOP_K:
        raise config.unsupported("n_topk_scores_per_group")
    return {
        **latent,
        "rms_norm_eps": _LATENT_EPS,
        "hidden_act": "silu",
        "attention_bias": False,
        "rope_interleave": bool(config["rope_interleave"]),
        "intermediate_size": config.intermediate_size,
        "moe_intermediate_size": _expert_size(config),
        "n_routed_experts": config.integer("n_expert"),
        "num_experts_per_tok": config.integer("n_expert_per_token"),
        "n_shared_experts": config.integer("n_shared_expert"),
        "n_group": config.integer("n_expert_groups"),
        "topk_group": config.integer("n_topk_groups"),
        "first_k_dense_replace": _dense_layers(config),
        "routed_scaling_factor": config["routed_scaling_factor"],
        "norm_topk_prob": bool(config["norm_topk_prob"]),
    }


def _check_plain_choice(config: LitGptConfig) -> None:
    """Reject configs with expert groups, shared experts or a routed scaling factor."""
    for name in ("n_expert_groups", "n_shared_expert"):
        if config[name]:
            raise config.unsupported(name)
    if config["routed_scaling_factor"] != 1:
        raise config.unsupported("routed_scaling_factor")


def _dense_layers(config: LitGptConfig) -> int:
    if not config["first_k_dense_replace"]:
        return 0
    return min(config.integer("first_k_dense_replace"), config.integer("n_layer"))


def _expert_size(config: LitGptConfig) -> int:
    if config["moe_intermediate_size"] is None:
        return config.intermediate_size
    return config.integer("moe_intermediate_size")
