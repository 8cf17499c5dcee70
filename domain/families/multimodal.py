"""Multimodal models: the config of their language model, and the names of its tensors."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

TEXT_MODEL_TYPES: dict[str, str] = {
    "aria": "aria_text",
    "gemma3": "gemma3_text",
    "gemma3n": "gemma3n_text",
    "gemma4": "gemma4_text",
    "gemma4_unified": "gemma4_unified_text",
    "kimi_k25": "deepseek_v3",
    "lfm2_vl": "lfm2",
    "lfm3_vl": "lfm3",
    "llama4": "llama4_text",
    "mistral3": "mistral",
    "phi4_multimodal": "phi4_multimodal",
    "qwen2_5_vl": "qwen2_5_vl_text",
    "qwen2_vl": "qwen2_vl_text",
    "qwen3_5": "qwen3_5_text",
    "qwen3_5_moe": "qwen3_5_moe_text",
    "qwen3_vl": "qwen3_vl_text",
    "qwen3_vl_moe": "qwen3_vl_moe_text",
}
"""`model_type` of each multimodal model, and the default `model_type` of its text config."""

_TEXT_CONFIG = "text_config"

_QWEN2_VL_DEFAULTS: dict[str, object] = {
    "num_key_value_heads": 8,
    "max_position_embeddings": 32_768,
    "max_window_layers": 80,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1_000_000.0,
}
_QWEN3_VL_DEFAULTS: dict[str, object] = {"max_position_embeddings": 128_000, "rope_theta": 500_000.0}
_QWEN3_VL_MOE_DEFAULTS = {
    "num_key_value_heads": 16,
    "num_experts_per_tok": 4,
    "moe_intermediate_size": 1408,
    "norm_topk_prob": True,  # not a setting there
}
_PHI4_DEFAULTS: dict[str, object] = {
    "num_key_value_heads": 8,
    "max_position_embeddings": 131_072,
    "original_max_position_embeddings": 4096,
}
_TEXT_ONLY: dict[str, tuple[str, dict[str, object]]] = {
    "phi4_multimodal": ("phi3", _PHI4_DEFAULTS),
    "qwen2_5_vl_text": ("qwen2", _QWEN2_VL_DEFAULTS),
    "qwen2_vl_text": ("qwen2", _QWEN2_VL_DEFAULTS),
    "qwen3_vl_text": ("qwen3", {**_QWEN3_VL_DEFAULTS, "num_key_value_heads": 32}),
    "qwen3_vl_moe_text": ("qwen3_moe", {**_QWEN3_VL_DEFAULTS, **_QWEN3_VL_MOE_DEFAULTS}),
}
"""Text models that equal a text-only one for text: its `model_type`, and the defaults of their own config."""

_FLAT_CONFIGS = ("phi4_multimodal", "qwen2_5_vl", "qwen2_vl")
"""Multimodal models whose published configs have the settings of the text model at the top level."""

_OUTER_SETTINGS = ("model_type", "audio_config", "vision_config")

# transformers wrote the text model's tensors with the prefix `language_model.model.` until version 4.52, and
# with `model.language_model.` since; both occur in published files.
_PREFIXES = (
    ("language_model.model.", "model."),
    ("language_model.lm_head.", "lm_head."),
    ("model.language_model.", "model."),
)

_UNUSED_TENSORS = (
    "*vision_tower.*",
    "*vision_model.*",
    "*multi_modal_projector.*",
    "*mm_projector.*",
    "*audio_tower.*",
    "*embed_vision.*",
    "*embed_audio.*",
    "*embed_tokens_extend.*",
    "*vision_embedder.*",
    "*visual.*",
)


def text_config(config: Mapping[str, object]) -> Mapping[str, object]:
    """Return the text config of a multimodal model; the config of a text-only model is returned unchanged."""
    model_type = config.get("model_type")
    part = config.get(_TEXT_CONFIG)
    if part is None and model_type in _FLAT_CONFIGS:
        part = {name: value for name, value in config.items() if name not in _OUTER_SETTINGS}
    if not isinstance(model_type, str) or model_type not in TEXT_MODEL_TYPES or not isinstance(part, Mapping):
        return config
    # These are often set in the outer config only.
    outer = {name: config[name] for name in ("eos_token_id", "tie_word_embeddings") if name in config}
    text = {"model_type": TEXT_MODEL_TYPES[model_type], **outer, **part}
    if text["model_type"] not in _TEXT_ONLY:
        return text
    plain, defaults = _TEXT_ONLY[text["model_type"]]
    set_values = {name: value for name, value in text.items() if value is not None}
    return {**defaults, **set_values, "model_type": plain, **_without_mrope(text)}


def _without_mrope(config: Mapping[str, object]) -> dict[str, object]:
    """Return the RoPE settings without multimodal RoPE, which equals standard RoPE for text."""
    settings: dict[str, object] = {}
    for name in ("rope_parameters", "rope_scaling"):
        if isinstance(rope := config.get(name), Mapping):
            plain = {key: value for key, value in rope.items() if not str(key).startswith("mrope")}
            settings[name] = {key: "default" if value == "mrope" else value for key, value in plain.items()}
    return settings


def is_multimodal(config: Mapping[str, object]) -> bool:
    """Return whether a config is that of a multimodal model."""
    return text_config(config) is not config


def text_tensor_names(names: Iterable[str]) -> dict[str, str]:
    """Return the text model's tensors: from the name in a text-only model to the name in the checkpoint."""
    selected = {}
    for name in names:
        if any(fnmatchcase(name, pattern) for pattern in _UNUSED_TENSORS):
            continue
        for beginning, usual in _PREFIXES:
            if name.startswith(beginning):
                selected[usual + name.removeprefix(beginning)] = name
                break
        else:
            selected[name] = name
    return selected
