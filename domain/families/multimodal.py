"""Models of text and more: which part of them is a language model, and how its tensors are called."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

TEXT_PARTS: dict[str, str] = {
    "gemma3": "gemma3_text",
    "gemma3n": "gemma3n_text",
    "gemma4": "gemma4_text",
    "llama4": "llama4_text",
    "mistral3": "mistral",
    "qwen3_5": "qwen3_5_text",
    "qwen3_5_moe": "qwen3_5_moe_text",
}
"""The `model_type` of a whole, and of its text part where that does not say so itself."""

_PART = "text_config"

# transformers wrote the text part's tensors below `language_model.model.` until version 4.52, and has the
# level the other way round inside since; files have either.
_PREFIXES = (
    ("language_model.model.", "model."),
    ("language_model.lm_head.", "lm_head."),
    ("model.language_model.", "model."),
)

_OTHER_PARTS = (
    "*vision_tower.*",
    "*vision_model.*",
    "*multi_modal_projector.*",
    "*audio_tower.*",
    "*embed_vision.*",
    "*embed_audio.*",
    "*visual.*",
)


def text_part(config: Mapping[str, object]) -> Mapping[str, object]:
    """Return the config of a model's text part; that of a model of text alone is the whole."""
    whole = config.get("model_type")
    part = config.get(_PART)
    if not isinstance(whole, str) or whole not in TEXT_PARTS or not isinstance(part, Mapping):
        return config
    # What ends a text, and whether the head is the embedding, is often told outside.
    outside = {name: config[name] for name in ("eos_token_id", "tie_word_embeddings") if name in config}
    return {"model_type": TEXT_PARTS[whole], **outside, **part}


def is_multimodal(config: Mapping[str, object]) -> bool:
    """Whether a config is that of a model of which only a part is a language model."""
    return text_part(config) is not config


def text_names(names: Iterable[str]) -> dict[str, str]:
    """Return the names of the text part's tensors, as a model of text alone has them and as they are."""
    found = {}
    for name in names:
        if any(fnmatchcase(name, pattern) for pattern in _OTHER_PARTS):
            continue
        for beginning, usual in _PREFIXES:
            if name.startswith(beginning):
                found[usual + name.removeprefix(beginning)] = name
                break
        else:
            found[name] = name
    return found
