"""The families in terms of LitGPT's settings: their fixed settings, and how to translate the others."""

from collections.abc import Callable, Mapping

import attrs

from litgpt.adapters.checkpoints.litgpt.config import LitGptConfig
from litgpt.adapters.checkpoints.litgpt.moe import deepseek, mixtral, qwen3_moe


@attrs.frozen
class Structure:
    """A family's fixed LitGPT settings, and a translation of the others to Hugging Face's."""

    expected: Mapping[str, object]
    config: Callable[[LitGptConfig], dict[str, object]]


# Llama's settings, which other families override.
_LLAMA: dict[str, object] = {
    "norm_1": True,
    "norm_2": True,
    "post_attention_norm": False,
    "post_mlp_norm": False,
    "parallel_residual": False,
    "shared_attention_norm": False,
    "norm_qk": False,
    "bias": False,
    "attn_bias": False,
    "latent_attention": None,
    "attention_logit_softcapping": None,
    "sliding_window_size": None,
    "rotary_percentage": 1.0,
    "rope_interleave": False,
    "rope_local_base_freq": None,
    "n_expert": 0,
    "scale_embeddings": False,
    "lm_head_bias": False,
    "final_logit_softcapping": None,
}


def _differs_from(*reads: str, base: Mapping[str, object] = _LLAMA, **differs: object) -> dict[str, object]:
    """Return the fixed settings of a family: `base` without the settings in `reads`, with some overridden."""
    return {name: value for name, value in base.items() if name not in reads} | differs


def _heads(config: LitGptConfig) -> dict[str, object]:
    """Return `head_dim`, if attention scores are scaled by its square root."""
    if config["attention_scores_scalar"] not in (None, config.head_dim):
        raise config.unsupported("attention_scores_scalar")
    return {"head_dim": config.head_dim}


def _divided_heads(config: LitGptConfig) -> dict[str, object]:
    """Check that the head size is `n_embd // n_head`, for families without a `head_dim` setting."""
    if config.head_dim != config.integer("n_embd") // config.integer("n_head"):
        raise config.unsupported("head_size")
    _heads(config)
    return {}


def _rms(config: LitGptConfig) -> dict[str, object]:
    return {
        **_heads(config),
        "intermediate_size": config.intermediate_size,
        "hidden_act": "silu",
        "rms_norm_eps": config["norm_eps"],
    }


def _gelu(config: LitGptConfig) -> str:
    return "gelu_pytorch_tanh" if config["gelu_approximate"] == "tanh" else "gelu"


def _one_window(config: LitGptConfig) -> dict[str, object]:
    """Return the sliding window of a family in which all layers have it or none does."""
    kinds = set(config.layer_types)
    if len(kinds) > 1:
        raise config.unsupported("sliding_window_indices")
    windowed = kinds == {"sliding_attention"}
    return {"sliding_window": config.integer("sliding_window_size") if windowed else None}


def _windows(config: LitGptConfig) -> dict[str, object]:
    """Return the sliding window and layer types of a family with mixed layers."""
    size = None if config["sliding_window_size"] is None else config.integer("sliding_window_size")
    return {"sliding_window": size, "layer_types": config.layer_types}


def _llama(config: LitGptConfig) -> dict[str, object]:
    return {**_rms(config), "attention_bias": bool(config["bias"]), "mlp_bias": bool(config["bias"])}


def _mistral(config: LitGptConfig) -> dict[str, object]:
    return {**_rms(config), **_one_window(config)}


def _phi3(config: LitGptConfig) -> dict[str, object]:
    return {**_mistral(config), "partial_rotary_factor": config["rotary_percentage"]}


def _qwen(config: LitGptConfig) -> dict[str, object]:
    windowed = config["sliding_window_size"] is not None
    return {**_rms(config), "use_sliding_window": windowed, **_windows(config)}


def _qwen3_moe(config: LitGptConfig) -> dict[str, object]:
    return qwen3_moe(config, _rms(config))


def _gemma(config: LitGptConfig) -> dict[str, object]:
    return {**_rms(config), "hidden_act": _gelu(config), "hidden_activation": _gelu(config)}


def _gemma2(config: LitGptConfig) -> dict[str, object]:
    # query_pre_attn_scalar scales the scores, so head_dim does not have to match attention_scores_scalar.
    scores = config["attention_scores_scalar"] or config.head_dim
    plain = LitGptConfig(config.where, {**config.values, "attention_scores_scalar": None})
    return {
        **_gemma(plain),
        "query_pre_attn_scalar": scores,
        "attn_logit_softcapping": config["attention_logit_softcapping"],
        "final_logit_softcapping": config["final_logit_softcapping"],
        **_windows(config),
    }


def _gemma3(config: LitGptConfig) -> dict[str, object]:
    local = config["rope_local_base_freq"]
    if local is None:
        if config["rope_adjustments"] is not None:  # Gemma 3 scales RoPE only in full-attention layers
            raise config.unsupported("rope_local_base_freq")
    elif config.layer_types_of("rope_indices") != config.layer_types:
        raise config.unsupported("rope_indices")
    return {**_gemma2(config), "rope_local_base_freq": config["rope_base"] if local is None else local}


def _layer(config: LitGptConfig) -> dict[str, object]:
    return {"intermediate_size": config.intermediate_size, "layer_norm_eps": config["norm_eps"]}


def _phi(config: LitGptConfig) -> dict[str, object]:
    return {
        **_layer(config),
        **_heads(config),
        "hidden_act": _gelu(config),
        "partial_rotary_factor": config["rotary_percentage"],
        "qk_layernorm": bool(config["norm_qk"]),
    }


def _gpt_neox(config: LitGptConfig) -> dict[str, object]:
    return {
        **_layer(config),
        **_divided_heads(config),
        "hidden_act": _gelu(config),
        "rotary_pct": config["rotary_percentage"],
        "rotary_emb_base": config["rope_base"],
        "use_parallel_residual": bool(config["parallel_residual"]),
    }


def _falcon(config: LitGptConfig) -> dict[str, object]:
    parallel, shared = bool(config["parallel_residual"]), bool(config["shared_attention_norm"])
    groups, heads = config.num_kv_heads, config.integer("n_head")
    one_norm = shared or not parallel
    newer = not one_norm or groups not in (1, heads)
    if newer and not parallel:
        raise config.unsupported("n_query_groups")
    return {
        **_divided_heads(config),
        "ffn_hidden_size": config.intermediate_size,
        "activation": _gelu(config),
        "layer_norm_epsilon": config["norm_eps"],
        "bias": bool(config["bias"]),
        "alibi": False,
        "parallel_attn": parallel,
        "multi_query": groups == 1,
        "new_decoder_architecture": newer,
        "num_kv_heads": groups,
        "num_ln_in_parallel_attn": (1 if one_norm else 2) if newer else None,
    }


def _stablelm(config: LitGptConfig) -> dict[str, object]:
    if bool(config["shared_attention_norm"]) != bool(config["parallel_residual"]):
        raise config.unsupported("shared_attention_norm")
    return {
        **_layer(config),
        **_divided_heads(config),
        "hidden_act": "silu",
        "use_qkv_bias": config.attn_bias,
        "use_parallel_residual": bool(config["parallel_residual"]),
        "partial_rotary_factor": config["rotary_percentage"],
    }


def _olmo(config: LitGptConfig) -> dict[str, object]:
    if config["norm_eps"] != 1e-5:  # OLMo's config has no epsilon
        raise config.unsupported("norm_eps")
    return {"intermediate_size": config.intermediate_size, **_heads(config), "hidden_act": "silu"}


_GEMMA2 = _differs_from(
    "sliding_window_size",
    "attention_logit_softcapping",
    "final_logit_softcapping",
    post_attention_norm=True,
    post_mlp_norm=True,
    scale_embeddings=True,
)

STRUCTURES = {
    "llama": Structure(_differs_from("bias"), _llama),
    "mistral": Structure(_differs_from("sliding_window_size"), _mistral),
    "mixtral": Structure(
        _differs_from("sliding_window_size", "n_expert"), lambda config: mixtral(config, _mistral(config))
    ),
    "qwen2": Structure(_differs_from("sliding_window_size", attn_bias=True), _qwen),
    "qwen3": Structure(_differs_from("sliding_window_size", norm_qk=True, norm_qk_type="default"), _qwen),
    "qwen3_moe": Structure(_differs_from("n_expert", norm_qk=True, norm_qk_type="default"), _qwen3_moe),
    "gemma": Structure(_differs_from(scale_embeddings=True), _gemma),
    "gemma2": Structure(_GEMMA2, _gemma2),
    "gemma3_text": Structure(
        _differs_from(
            "rope_local_base_freq",
            base=_GEMMA2,
            norm_qk=True,
            norm_qk_type="default",
            attention_logit_softcapping=None,
            final_logit_softcapping=None,
            rope_condense_ratio=1,
        ),
        _gemma3,
    ),
    "phi": Structure(
        _differs_from(
            "norm_qk",
            "rotary_percentage",
            norm_qk_type="default",
            parallel_residual=True,
            shared_attention_norm=True,
            bias=True,
            lm_head_bias=True,
        ),
        _phi,
    ),
    "phi3": Structure(_differs_from("sliding_window_size", "rotary_percentage"), _phi3),
    "gpt_neox": Structure(_differs_from("rotary_percentage", "parallel_residual", bias=True), _gpt_neox),
    "falcon": Structure(_differs_from("parallel_residual", "shared_attention_norm", "bias"), _falcon),
    "stablelm": Structure(
        _differs_from("parallel_residual", "shared_attention_norm", "attn_bias", "rotary_percentage"),
        _stablelm,
    ),
    "olmo": Structure(_LLAMA, _olmo),
    "olmo2": Structure(
        _differs_from(
            norm_1=False,
            norm_2=False,
            post_attention_norm=True,
            post_mlp_norm=True,
            norm_qk=True,
            norm_qk_type="olmo2",
        ),
        _rms,
    ),
    "deepseek_v3": Structure(_differs_from("latent_attention", "n_expert", "rope_interleave"), deepseek),
}
"""The families supported by LitGPT, by `model_type`."""
