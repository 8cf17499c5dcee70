"""The `config.json` that LitGPT copies beside its own settings, and when it may be believed.

LitGPT's settings do not tell all families apart: a Phi 3 is a Llama in them. The copy does, and says what no
setting of LitGPT's does. But weights and settings may have changed since it was copied, and LitGPT goes by
its settings. So it is believed where both describe the same structure.
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.architecture import Architecture
from litgpt.domain.errors import LitGPTError
from litgpt.domain.families import describe, saved_config

# Whatever is wrong with the copy need not be told: LitGPT's settings say all that is needed.
_OF_NO_USE = (LitGPTError, ArithmeticError, LookupError, TypeError, ValueError)

_SPECIAL_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")


def agreed_config(
    name: str, told: Mapping[str, object], beside: Mapping[str, object]
) -> tuple[dict[str, object], Architecture]:
    """Return the config to go by, and the structure that it describes.

    Args:
        name: What to call the model in an error.
        told: What LitGPT's settings and tensors say, as a config.
        beside: The contents of `config.json`; empty if there is none.

    Raises:
        DamagedFile: A setting of LitGPT's cannot be right.
        UnsupportedModel: What LitGPT's settings ask for is not implemented.

    """
    tied = {"tie_word_embeddings": told["tie_word_embeddings"]}
    told = {**told, **{key: beside[key] for key in _SPECIAL_TOKENS if key in beside}}
    architecture = describe(name, told)
    copied = {**saved_config(beside), **tied}
    try:
        also = describe(name, copied)
    except _OF_NO_USE:
        return told, architecture
    if attrs.evolve(also, family=architecture.family) != architecture:
        return told, architecture
    return copied, also
