"""Model families as data: how to read each family's `config.json` and the names of its tensors."""

from litgpt.domain.families.family import Family
from litgpt.domain.families.gemma import GEMMA3_TEXT
from litgpt.domain.families.llama import LLAMA
from litgpt.domain.families.qwen2 import QWEN2
from litgpt.domain.families.registry import FAMILIES
from litgpt.domain.families.understanding import (
    Understood,
    describe,
    expected_shapes,
    family_of,
    saved_config,
    understand,
)

__all__ = [
    "FAMILIES",
    "GEMMA3_TEXT",
    "LLAMA",
    "QWEN2",
    "Family",
    "Understood",
    "describe",
    "expected_shapes",
    "family_of",
    "saved_config",
    "understand",
]
