"""The `config.json` that LitGPT copies beside its own settings, and when it may be believed.

LitGPT's settings do not tell all families apart: a Phi 3 is a Llama in them. The copy does, and says what no
setting of LitGPT's does. But weights and settings may have changed since it was copied, and LitGPT goes by
its settings. So it is believed where both describe the same structure.
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.errors import LitGPTError
from litgpt.domain.families import config_to_save, parse_config
from litgpt.domain.model import Architecture

# Whatever is wrong with the copy need not be told: LitGPT's settings say all that is needed.
_UNUSABLE_CONFIG_ERRORS = (LitGPTError, ArithmeticError, LookupError, TypeError, ValueError)

_SPECIAL_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")


def choose_config(
    name: str, translated: Mapping[str, object], hf_config: Mapping[str, object]
) -> tuple[dict[str, object], Architecture]:
    """Return the config to go by, and the structure that it describes.

    Args:
        name: What to call the model in an error.
        translated: What LitGPT's settings and tensors say, as a config.
        hf_config: The contents of `config.json`; empty if there is none.

    Raises:
        CorruptFile: A setting of LitGPT's cannot be right.
        UnsupportedModel: What LitGPT's settings ask for is not implemented.

    """
    tied = {"tie_word_embeddings": translated["tie_word_embeddings"]}
    translated = {**translated, **{key: hf_config[key] for key in _SPECIAL_TOKENS if key in hf_config}}
    architecture = parse_config(name, translated)
    copied = {**config_to_save(hf_config), **tied}
    try:
        also = parse_config(name, copied)
    except _UNUSABLE_CONFIG_ERRORS:
        return translated, architecture
    if attrs.evolve(also, family=architecture.family) != architecture:
        return translated, architecture
    return copied, also
