"""Decide whether to use the `config.json` that LitGPT copies next to its own settings.

LitGPT's settings do not distinguish all families (Phi 3 looks like Llama) and lack some Hugging Face
settings; the copy has both. But weights and settings may have changed after it was copied, and LitGPT itself
ignores it. So the copy is only used if it describes the same architecture.
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.errors import LitGPTError
from litgpt.domain.families import config_to_save, parse_config
from litgpt.domain.model import Architecture

# Errors of the copy are ignored: LitGPT's settings are sufficient.
_UNUSABLE_CONFIG_ERRORS = (LitGPTError, ArithmeticError, LookupError, TypeError, ValueError)

_SPECIAL_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")


def choose_config(
    name: str, translated: Mapping[str, object], hf_config: Mapping[str, object]
) -> tuple[dict[str, object], Architecture]:
    """Return the translated config, or its Hugging Face copy if it is equivalent, and the architecture."""
    tied = {"tie_word_embeddings": translated["tie_word_embeddings"]}
    translated = {**translated, **{key: hf_config[key] for key in _SPECIAL_TOKENS if key in hf_config}}
    architecture = parse_config(name, translated)
    copied = {**config_to_save(hf_config), **tied}
    try:
        copied_architecture = parse_config(name, copied)
    except _UNUSABLE_CONFIG_ERRORS:
        return translated, architecture
    if attrs.evolve(copied_architecture, family=architecture.family) != architecture:
        return translated, architecture
    return copied, copied_architecture
