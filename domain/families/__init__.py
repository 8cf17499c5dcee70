"""Model families as data: how to read each family's `config.json` and the names of its tensors."""

from litgpt.domain.families.llama import LLAMA
from litgpt.domain.families.registry import FAMILIES
from litgpt.domain.families.resolve import (
    ResolvedModel,
    config_to_save,
    expected_shapes,
    family_of,
    parse_config,
    resolve_model,
)
from litgpt.domain.families.schema.family import Family

__all__ = [
    "FAMILIES",
    "LLAMA",
    "Family",
    "ResolvedModel",
    "config_to_save",
    "expected_shapes",
    "family_of",
    "parse_config",
    "resolve_model",
]
