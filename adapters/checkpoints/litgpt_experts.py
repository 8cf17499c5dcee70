"""The families with experts in LitGPT's settings, and what Hugging Face calls these."""

from collections.abc import Mapping

from litgpt.adapters.checkpoints.litgpt_settings import LitGptSettings
from litgpt.domain.errors import DamagedFile
from litgpt.domain.messages import short_repr
from litgpt.domain.validators import is_integer

# What DeepSeek V3's config cannot say: both are fixed in its code.
_LATENT_EPS = 1e-6
_SCORES_PER_GROUP = 2

_LATENT_SIZES = ("q_lora_rank", "kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim")


def mixtral(said: LitGptSettings, dense: Mapping[str, object]) -> dict[str, object]:
    """Return what a Mixtral's config says besides what a Mistral's would."""
    _check_plain_choice(said)
    if _dense_layers(said):
        raise said.refused("first_k_dense_replace")
    return {
        **dense,
        "intermediate_size": _expert_size(said),
        "num_local_experts": said.integer("n_expert"),
        "num_experts_per_tok": said.integer("n_expert_per_token"),
    }


def qwen3_moe(said: LitGptSettings, dense: Mapping[str, object]) -> dict[str, object]:
    """Return what the config of a Qwen 3 with experts says besides what one without would."""
    _check_plain_choice(said)
    return {
        **dense,
        "moe_intermediate_size": _expert_size(said),
        "num_experts": said.integer("n_expert"),
        "num_experts_per_tok": said.integer("n_expert_per_token"),
        # Without groups LitGPT does not look at its setting of this name, and the weights sum to 1.
        "norm_topk_prob": True,
        "decoder_sparse_step": 1,
        "mlp_only_layers": list(range(_dense_layers(said))),
        "use_sliding_window": False,
    }


def deepseek(said: LitGptSettings) -> dict[str, object]:
    """Return what a DeepSeek V3's config says."""
    latent = said["latent_attention"]
    if not isinstance(latent, Mapping) or set(latent) != set(_LATENT_SIZES):
        raise said.refused("latent_attention")
    for name, value in latent.items():
        if not is_integer(value, 1):
            raise DamagedFile(said.where, f"{name} must be a positive integer, not {short_repr(value)}.")
    if said["norm_eps"] != _LATENT_EPS:
        raise said.refused("norm_eps")
    if said.groups != said.integer("n_head"):
        raise said.refused("n_query_groups")
    head_size = latent["qk_rope_head_dim"] + latent["qk_nope_head_dim"]
    if said["attention_scores_scalar"] not in (None, head_size):
        raise said.refused("attention_scores_scalar")
    if not said["n_expert_groups"]:  # then LitGPT chooses as Mixtral does
        raise said.refused("n_expert_groups")
    if not said["n_shared_expert"]:
        raise said.refused("n_shared_expert")
    if said["n_topk_scores_per_group"] != _SCORES_PER_GROUP:
        raise said.refused("n_topk_scores_per_group")
    return {
        **latent,
        "rms_norm_eps": _LATENT_EPS,
        "hidden_act": "silu",
        "attention_bias": False,
        "rope_interleave": bool(said["rope_interleave"]),
        "intermediate_size": said.intermediate_size,
        "moe_intermediate_size": _expert_size(said),
        "n_routed_experts": said.integer("n_expert"),
        "num_experts_per_tok": said.integer("n_expert_per_token"),
        "n_shared_experts": said.integer("n_shared_expert"),
        "n_group": said.integer("n_expert_groups"),
        "topk_group": said.integer("n_topk_groups"),
        "first_k_dense_replace": _dense_layers(said),
        "routed_scaling_factor": said["routed_scaling_factor"],
        "norm_topk_prob": bool(said["norm_topk_prob"]),
    }


def _check_plain_choice(said: LitGptSettings) -> None:
    """Check that experts are chosen by their scores alone, and that no other feed-forward stands beside."""
    for name in ("n_expert_groups", "n_shared_expert"):
        if said[name]:
            raise said.refused(name)
    if said["routed_scaling_factor"] != 1:
        raise said.refused("routed_scaling_factor")


def _dense_layers(said: LitGptSettings) -> int:
    """Return how many layers, from the first, have no experts."""
    if not said["first_k_dense_replace"]:
        return 0
    return min(said.integer("first_k_dense_replace"), said.integer("n_layer"))


def _expert_size(said: LitGptSettings) -> int:
    if said["moe_intermediate_size"] is None:
        return said.intermediate_size
    return said.integer("moe_intermediate_size")
