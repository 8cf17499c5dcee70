"""Youtu-LLM: DeepSeek V3's latent attention in a dense model.

Source: Youtu-LLM Team 2025, arXiv:2512.24618.
"""

import attrs

from litgpt.domain.families.deepseek import MLA_WEIGHTS
from litgpt.domain.families.llama import EMBEDDING_WEIGHTS, GATED_MLP_WEIGHTS, LLAMA, NORM_WEIGHTS
from litgpt.domain.families.schema.attention import MLASchema
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.mlp import GatedMLPSchema

YOUTU = attrs.evolve(
    LLAMA,
    model_type="youtu",
    attention=MLASchema(),
    mlp=GatedMLPSchema(),
    tie_word_embeddings=ConfigField("tie_word_embeddings", default=True),
    context_length=ConfigField("max_position_embeddings", 131_072),
    weights=(*EMBEDDING_WEIGHTS, *NORM_WEIGHTS, *MLA_WEIGHTS, *GATED_MLP_WEIGHTS),
)
