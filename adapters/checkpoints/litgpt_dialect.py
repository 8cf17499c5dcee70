"""LitGPT's description of a model, translated to Hugging Face's: `model_config.yaml` to `config.json`.

The family is recognised by the structure that the settings describe, never by the model's name.
"""

from collections.abc import Mapping

from litgpt.adapters.checkpoints.litgpt_settings import DEFAULTS, OF_EXPERTS, LitGptSettings
from litgpt.domain.errors import DamagedFile

# What every family here has in common.
_COMMON: dict[str, object] = {
    "norm_class_name": "RMSNorm",
    "norm_1": True,
    "norm_2": True,
    "parallel_residual": False,
    "shared_attention_norm": False,
    "latent_attention": None,
    "attention_logit_softcapping": None,
    "rotary_percentage": 1.0,
    "rope_interleave": False,
    "n_expert": 0,
    "lm_head_bias": False,
    "final_logit_softcapping": None,
}
_PLAIN: dict[str, object] = {
    **_COMMON,
    "norm_qk": False,
    "post_attention_norm": False,
    "post_mlp_norm": False,
    "scale_embeddings": False,
    "rope_local_base_freq": None,
}

STRUCTURES: dict[str, dict[str, object]] = {
    "llama": {**_PLAIN, "sliding_window_size": None},
    "qwen2": {**_PLAIN, "bias": False},
    "gemma3_text": {
        **_COMMON,
        "norm_qk": True,
        "norm_qk_type": "default",
        "post_attention_norm": True,
        "post_mlp_norm": True,
        "scale_embeddings": True,
        "bias": False,
        "attn_bias": False,
        "rope_condense_ratio": 1,
    },
}
"""The settings that make a model one of a family, by the family's `model_type`."""


def family_of(said: LitGptSettings) -> str:
    """Return the `model_type` of the family that has this structure.

    Raises:
        UnsupportedModel: None that is implemented has; it names the setting that stands in the way.

    """
    match said["mlp_class_name"], bool(said["attn_bias"]) and not said["bias"]:
        case "GemmaMLP", _:
            family = "gemma3_text"
        case "LLaMAMLP", True:
            family = "qwen2"
        case "LLaMAMLP", _:
            family = "llama"
        case _:
            raise said.refused("mlp_class_name")
    for name, expected in STRUCTURES[family].items():
        if said[name] != expected:
            raise said.refused(name)
    for name in sorted(said.values.keys() - DEFAULTS.keys() - OF_EXPERTS):
        if said.values[name]:  # a setting that a later LitGPT brought, and that is on
            raise said.refused(name)
    return family


def to_config(where: str, values: Mapping[str, object]) -> dict[str, object]:
    """Return the `config.json` of a model that LitGPT describes; whether its head is tied is not in it.

    Args:
        where: The file that was read, for errors.
        values: The contents of a `model_config.yaml`.

    Raises:
        DamagedFile: A setting cannot be right.
        UnsupportedModel: No family that is implemented has this structure, or this setting.

    """
    said = LitGptSettings(where, values)
    family = family_of(said)
    config: dict[str, object] = {
        "model_type": family,
        "hidden_size": said.integer("n_embd"),
        "intermediate_size": said.integer("intermediate_size"),
        "num_hidden_layers": said.integer("n_layer"),
        "num_attention_heads": said.integer("n_head"),
        "num_key_value_heads": said.groups,
        "head_dim": said.head_size,
        "vocab_size": said.vocab_size,
        "max_position_embeddings": said.integer("block_size"),
        "rms_norm_eps": said["norm_eps"],
        "rope_theta": said["rope_base"],
        "rope_scaling": _rope_scaling(said),
    }
    return config | _PARTICULARS[family](said)


def _llama(said: LitGptSettings) -> dict[str, object]:
    if said["attention_scores_scalar"] not in (None, said.head_size):
        raise said.refused("attention_scores_scalar")
    return {"hidden_act": "silu", "attention_bias": bool(said["bias"]), "mlp_bias": bool(said["bias"])}


def _qwen2(said: LitGptSettings) -> dict[str, object]:
    if said["attention_scores_scalar"] not in (None, said.head_size):
        raise said.refused("attention_scores_scalar")
    windowed = said["sliding_window_size"] is not None
    return {"hidden_act": "silu", "use_sliding_window": windowed, **_windows(said)}


def _gemma3(said: LitGptSettings) -> dict[str, object]:
    scores = "head_size" if said["attention_scores_scalar"] is None else "attention_scores_scalar"
    windows = _windows(said)
    local = said["rope_local_base_freq"]
    if local is None:
        if said["rope_adjustments"] is not None:  # Gemma 3 stretches only the layers that see everything
            raise said.refused("rope_local_base_freq")
    elif _kinds(said, "rope_indices") != windows["layer_types"]:
        raise said.refused("rope_indices")
    return {
        "hidden_activation": {"tanh": "gelu_pytorch_tanh"}.get(str(said["gelu_approximate"]), "gelu"),
        "attention_bias": False,
        "query_pre_attn_scalar": said.head_size if scores == "head_size" else said[scores],
        "rope_local_base_freq": said["rope_base"] if local is None else local,
        **windows,
    }


_PARTICULARS = {"llama": _llama, "qwen2": _qwen2, "gemma3_text": _gemma3}


def _windows(said: LitGptSettings) -> dict[str, object]:
    if said["sliding_window_size"] is None:
        kinds = ["full_attention"] * said.integer("n_layer")
        return {"sliding_window": None, "layer_types": kinds}
    return {
        "sliding_window": said.integer("sliding_window_size"),
        "layer_types": _kinds(said, "sliding_window_indices"),
    }


def _kinds(said: LitGptSettings, name: str) -> list[str]:
    """Return what kind of attention each layer has, of which LitGPT writes 1 for one with a window."""
    layers = said.integer("n_layer")
    given = said[name]
    indices = [1] * layers if given is None else given
    if not isinstance(indices, list) or len(indices) < layers or any(one not in (0, 1) for one in indices):
        raise DamagedFile(said.where, f"{name} must be a list with a 0 or a 1 for each of {layers} layers.")
    return ["sliding_attention" if one else "full_attention" for one in indices[:layers]]


def _rope_scaling(said: LitGptSettings) -> dict[str, object] | None:
    given, condensed = said["rope_adjustments"], said["rope_condense_ratio"]
    if given is None:
        return None if condensed == 1 else {"rope_type": "linear", "factor": condensed}
    if condensed != 1:
        raise said.refused("rope_condense_ratio")
    if not isinstance(given, dict):
        raise DamagedFile(said.where, "rope_adjustments must be names and values.")
    if set(given) == {"factor"}:
        return {"rope_type": "linear", "factor": given["factor"]}
    if set(given) == {"factor", "low_freq_factor", "high_freq_factor", "original_max_seq_len"}:
        renamed = {name: value for name, value in given.items() if name != "original_max_seq_len"}
        original = given["original_max_seq_len"]
        return {"rope_type": "llama3", "original_max_position_embeddings": original, **renamed}
    raise said.refused("rope_adjustments")
