"""Multimodal models: the config of their language model, and the names of its tensors."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

TEXT_MODEL_TYPES: dict[str, str] = {
    "gemma3": "gemma3_text",
    "gemma3n": "gemma3n_text",
    "gemma4": "gemma4_text",
    "lfm2_vl": "lfm2",
    "lfm3_vl": "lfm3",
    "llama4": "llama4_text",
    "mistral3": "mistral",
    "qwen3_5": "qwen3_5_text",
    "qwen3_5_moe": "qwen3_5_moe_text",
}
"""`model_type` of each multimodal model, and the default `model_type` of its text config."""

_TEXT_CONFIG = "text_config"

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
    "*audio_tower.*",
    "*embed_vision.*",
    "*embed_audio.*",
    "*visual.*",
)


def text_config(config: Mapping[str, object]) -> Mapping[str, object]:
    """Return the text config of a multimodal model; the config of a text-only model is returned unchanged."""
    model_type = config.get("model_type")
    part = config.get(_TEXT_CONFIG)
    if not isinstance(model_type, str) or model_type not in TEXT_MODEL_TYPES or not isinstance(part, Mapping):
        return config
    # These are often set in the outer config only.
    outer = {name: config[name] for name in ("eos_token_id", "tie_word_embeddings") if name in config}
    return {"model_type": TEXT_MODEL_TYPES[model_type], **outer, **part}


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
