"""The model families, as data: each says how its `config.json` is read and how its tensors are called."""

from collections.abc import Mapping

from litgpt.domain.architecture import Architecture
from litgpt.domain.errors import DamagedFile, UnsupportedModel
from litgpt.domain.families.deepseek import DEEPSEEK_V3
from litgpt.domain.families.falcon import FALCON
from litgpt.domain.families.family import Family
from litgpt.domain.families.gemma import GEMMA, GEMMA2, GEMMA3_TEXT
from litgpt.domain.families.glm import GLM4, GLM4_MOE
from litgpt.domain.families.gpt2 import GPT2
from litgpt.domain.families.gpt_neox import GPT_NEOX
from litgpt.domain.families.granite import GRANITE
from litgpt.domain.families.llama import LLAMA
from litgpt.domain.families.mistral import MINISTRAL3, MISTRAL, MIXTRAL
from litgpt.domain.families.olmo import OLMO, OLMO2, OLMO3
from litgpt.domain.families.phi import PHI, PHI3
from litgpt.domain.families.qwen2 import QWEN2, QWEN2_MOE
from litgpt.domain.families.qwen3 import QWEN3, QWEN3_MOE
from litgpt.domain.families.settings import Settings
from litgpt.domain.families.smollm3 import SMOLLM3
from litgpt.domain.families.stablelm import STABLELM
from litgpt.domain.families.starcoder2 import STARCODER2

FAMILIES: dict[str, Family] = {
    family.model_type: family
    for family in (
        LLAMA,
        MISTRAL,
        MIXTRAL,
        QWEN2,
        QWEN3,
        QWEN3_MOE,
        GEMMA,
        GEMMA2,
        GEMMA3_TEXT,
        PHI,
        PHI3,
        GPT_NEOX,
        FALCON,
        STABLELM,
        OLMO,
        OLMO2,
        DEEPSEEK_V3,
        QWEN2_MOE,
        GLM4,
        GLM4_MOE,
        MINISTRAL3,
        SMOLLM3,
        OLMO3,
        GRANITE,
        GPT2,
        STARCODER2,
    )
}
"""Every family, by the `model_type` of its config."""

__all__ = ["FAMILIES", "GEMMA3_TEXT", "LLAMA", "QWEN2", "Family", "describe", "family_of", "saved_config"]


def family_of(model: str, config: Mapping[str, object]) -> Family:
    """Return the family that a config names.

    Raises:
        DamagedFile: It names none.
        UnsupportedModel: It names one that is not implemented.

    """
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        raise DamagedFile(f"config.json of {model}", "it has no 'model_type', so it is no language model's.")
    if model_type not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        raise UnsupportedModel(model, f"its family {model_type!r} is not one of those implemented: {known}.")
    return FAMILIES[model_type]


def describe(model: str, config: Mapping[str, object]) -> Architecture:
    """Return the architecture that a Hugging Face config asks for.

    Args:
        model: What to call the model in an error.
        config: The parsed `config.json`.

    Raises:
        DamagedFile: A setting is absent or cannot be right.
        UnsupportedModel: The family, or a setting of it, is not implemented.

    """
    return family_of(model, config).describe(Settings(model, config))


# What says how weights were stored, or names code to run, is no part of a model that is written anew.
_OF_THE_FILE = ("quantization_config", "auto_map", "torch_dtype", "dtype")


def saved_config(config: Mapping[str, object]) -> dict[str, object]:
    """Return what `config.json` says of a model that is written in full precision."""
    return {name: value for name, value in config.items() if name not in _OF_THE_FILE}
