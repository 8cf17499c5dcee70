"""The families in LitGPT's settings: what their members have in common, and how the rest is read."""

from collections.abc import Callable, Mapping

import attrs

from litgpt.adapters.checkpoints.litgpt_experts import deepseek, mixtral, qwen3_moe
from litgpt.adapters.checkpoints.litgpt_settings import LitGptSettings


@attrs.frozen
class Structure:
    """A family.

    Attributes:
        expected: The settings that its members have in common.
        config: Reads the others.

    """

    expected: Mapping[str, object]
    config: Callable[[LitGptSettings], dict[str, object]]


# What is true of Llama, and of every other family unless it says otherwise.
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


def _unlike(*reads: str, base: Mapping[str, object] = _LLAMA, **differs: object) -> dict[str, object]:
    """Return what is expected of a family that reads some settings itself, and of which others differ."""
    return {name: value for name, value in base.items() if name not in reads} | differs


def _heads(said: LitGptSettings) -> dict[str, object]:
    """Return what most families call a head's size, scores being scaled by it."""
    if said["attention_scores_scalar"] not in (None, said.head_size):
        raise said.refused("attention_scores_scalar")
    return {"head_dim": said.head_size}


def _divided_heads(said: LitGptSettings) -> dict[str, object]:
    """Check that a head's size is the width over the heads, which these families do not say."""
    if said.head_size != said.integer("n_embd") // said.integer("n_head"):
        raise said.refused("head_size")
    _heads(said)
    return {}


def _rms(said: LitGptSettings) -> dict[str, object]:
    return {
        **_heads(said),
        "intermediate_size": said.intermediate_size,
        "hidden_act": "silu",
        "rms_norm_eps": said["norm_eps"],
    }


def _gelu(said: LitGptSettings) -> str:
    return "gelu_pytorch_tanh" if said["gelu_approximate"] == "tanh" else "gelu"


def _one_window(said: LitGptSettings) -> dict[str, object]:
    """Return the window of a family in which all layers have it or none."""
    kinds = set(said.layer_types)
    if len(kinds) > 1:
        raise said.refused("sliding_window_indices")
    windowed = kinds == {"sliding_attention"}
    return {"sliding_window": said.integer("sliding_window_size") if windowed else None}


def _windows(said: LitGptSettings) -> dict[str, object]:
    """Return the windows of a family in which layers differ."""
    size = None if said["sliding_window_size"] is None else said.integer("sliding_window_size")
    return {"sliding_window": size, "layer_types": said.layer_types}


def _llama(said: LitGptSettings) -> dict[str, object]:
    return {**_rms(said), "attention_bias": bool(said["bias"]), "mlp_bias": bool(said["bias"])}


def _mistral(said: LitGptSettings) -> dict[str, object]:
    return {**_rms(said), **_one_window(said)}


def _phi3(said: LitGptSettings) -> dict[str, object]:
    return {**_mistral(said), "partial_rotary_factor": said["rotary_percentage"]}


def _qwen(said: LitGptSettings) -> dict[str, object]:
    windowed = said["sliding_window_size"] is not None
    return {**_rms(said), "use_sliding_window": windowed, **_windows(said)}


def _qwen3_moe(said: LitGptSettings) -> dict[str, object]:
    return qwen3_moe(said, _rms(said))


def _gemma(said: LitGptSettings) -> dict[str, object]:
    return {**_rms(said), "hidden_act": _gelu(said), "hidden_activation": _gelu(said)}


def _gemma2(said: LitGptSettings) -> dict[str, object]:
    # Its scores are scaled by a number of its own, so that of the head is not asked for.
    scores = said["attention_scores_scalar"] or said.head_size
    plain = LitGptSettings(said.where, {**said.values, "attention_scores_scalar": None})
    return {
        **_gemma(plain),
        "query_pre_attn_scalar": scores,
        "attn_logit_softcapping": said["attention_logit_softcapping"],
        "final_logit_softcapping": said["final_logit_softcapping"],
        **_windows(said),
    }


def _gemma3(said: LitGptSettings) -> dict[str, object]:
    local = said["rope_local_base_freq"]
    if local is None:
        if said["rope_adjustments"] is not None:  # Gemma 3 stretches only the layers that see everything
            raise said.refused("rope_local_base_freq")
    elif said.kinds("rope_indices") != said.layer_types:
        raise said.refused("rope_indices")
    return {**_gemma2(said), "rope_local_base_freq": said["rope_base"] if local is None else local}


def _layer(said: LitGptSettings) -> dict[str, object]:
    return {"intermediate_size": said.intermediate_size, "layer_norm_eps": said["norm_eps"]}


def _phi(said: LitGptSettings) -> dict[str, object]:
    return {
        **_layer(said),
        **_heads(said),
        "hidden_act": _gelu(said),
        "partial_rotary_factor": said["rotary_percentage"],
        "qk_layernorm": bool(said["norm_qk"]),
    }


def _gpt_neox(said: LitGptSettings) -> dict[str, object]:
    return {
        **_layer(said),
        **_divided_heads(said),
        "hidden_act": _gelu(said),
        "rotary_pct": said["rotary_percentage"],
        "rotary_emb_base": said["rope_base"],
        "use_parallel_residual": bool(said["parallel_residual"]),
    }


def _falcon(said: LitGptSettings) -> dict[str, object]:
    parallel, shared = bool(said["parallel_residual"]), bool(said["shared_attention_norm"])
    groups, heads = said.groups, said.integer("n_head")
    one_norm = shared or not parallel
    newer = not one_norm or groups not in (1, heads)
    if newer and not parallel:
        raise said.refused("n_query_groups")
    return {
        **_divided_heads(said),
        "ffn_hidden_size": said.intermediate_size,
        "activation": _gelu(said),
        "layer_norm_epsilon": said["norm_eps"],
        "bias": bool(said["bias"]),
        "alibi": False,
        "parallel_attn": parallel,
        "multi_query": groups == 1,
        "new_decoder_architecture": newer,
        "num_kv_heads": groups,
        "num_ln_in_parallel_attn": (1 if one_norm else 2) if newer else None,
    }


def _stablelm(said: LitGptSettings) -> dict[str, object]:
    if bool(said["shared_attention_norm"]) != bool(said["parallel_residual"]):
        raise said.refused("shared_attention_norm")
    return {
        **_layer(said),
        **_divided_heads(said),
        "hidden_act": "silu",
        "use_qkv_bias": said.attn_bias,
        "use_parallel_residual": bool(said["parallel_residual"]),
        "partial_rotary_factor": said["rotary_percentage"],
    }


def _olmo(said: LitGptSettings) -> dict[str, object]:
    if said["norm_eps"] != 1e-5:  # which the family's config cannot say
        raise said.refused("norm_eps")
    return {"intermediate_size": said.intermediate_size, **_heads(said), "hidden_act": "silu"}


_GEMMA2 = _unlike(
    "sliding_window_size",
    "attention_logit_softcapping",
    "final_logit_softcapping",
    post_attention_norm=True,
    post_mlp_norm=True,
    scale_embeddings=True,
)

STRUCTURES = {
    "llama": Structure(_unlike("bias"), _llama),
    "mistral": Structure(_unlike("sliding_window_size"), _mistral),
    "mixtral": Structure(
        _unlike("sliding_window_size", "n_expert"), lambda said: mixtral(said, _mistral(said))
    ),
    "qwen2": Structure(_unlike("sliding_window_size", attn_bias=True), _qwen),
    "qwen3": Structure(_unlike("sliding_window_size", norm_qk=True, norm_qk_type="default"), _qwen),
    "qwen3_moe": Structure(_unlike("n_expert", norm_qk=True, norm_qk_type="default"), _qwen3_moe),
    "gemma": Structure(_unlike(scale_embeddings=True), _gemma),
    "gemma2": Structure(_GEMMA2, _gemma2),
    "gemma3_text": Structure(
        _unlike(
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
        _unlike(
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
    "phi3": Structure(_unlike("sliding_window_size", "rotary_percentage"), _phi3),
    "gpt_neox": Structure(_unlike("rotary_percentage", "parallel_residual", bias=True), _gpt_neox),
    "falcon": Structure(_unlike("parallel_residual", "shared_attention_norm", "bias"), _falcon),
    "stablelm": Structure(
        _unlike("parallel_residual", "shared_attention_norm", "attn_bias", "rotary_percentage"), _stablelm
    ),
    "olmo": Structure(_LLAMA, _olmo),
    "olmo2": Structure(
        _unlike(
            norm_1=False,
            norm_2=False,
            post_attention_norm=True,
            post_mlp_norm=True,
            norm_qk=True,
            norm_qk_type="olmo2",
        ),
        _rms,
    ),
    "deepseek_v3": Structure(_unlike("latent_attention", "n_expert", "rope_interleave"), deepseek),
}
"""The families that LitGPT has code for, by `model_type`."""
