"""All supported families."""

from collections.abc import Mapping

from litgpt.domain.families.schema.family import Family
from litgpt.domain.lazy_values import LazyValues

FAMILIES: Mapping[str, Family] = LazyValues(
    "litgpt.domain.families",
    {
        "llama": "llama:LLAMA",
        "mistral": "mistral:MISTRAL",
        "mixtral": "mistral:MIXTRAL",
        "qwen2": "qwen2:QWEN2",
        "qwen3": "qwen3:QWEN3",
        "qwen3_moe": "qwen3:QWEN3_MOE",
        "gemma": "gemma:GEMMA",
        "gemma2": "gemma:GEMMA2",
        "gemma3_text": "gemma:GEMMA3_TEXT",
        "phi": "phi:PHI",
        "phi3": "phi:PHI3",
        "gpt_neox": "gpt_neox:GPT_NEOX",
        "falcon": "falcon:FALCON",
        "stablelm": "stablelm:STABLELM",
        "olmo": "olmo:OLMO",
        "olmo2": "olmo:OLMO2",
        "deepseek_v3": "deepseek:DEEPSEEK_V3",
        "gemma3n_text": "gemma3n:GEMMA3N_TEXT",
        "gemma4_text": "gemma4:GEMMA4_TEXT",
        "gpt_oss": "gpt_oss:GPT_OSS",
        "llama4_text": "llama4:LLAMA4_TEXT",
        "qwen3_5_text": "qwen3_next:QWEN3_5_TEXT",
        "qwen3_5_moe_text": "qwen3_next:QWEN3_5_MOE_TEXT",
        "qwen3_next": "qwen3_next:QWEN3_NEXT",
        "qwen2_moe": "qwen2:QWEN2_MOE",
        "glm4": "glm:GLM4",
        "glm4_moe": "glm:GLM4_MOE",
        "ministral3": "mistral:MINISTRAL3",
        "smollm3": "smollm3:SMOLLM3",
        "olmo3": "olmo:OLMO3",
        "granite": "granite:GRANITE",
        "gpt2": "gpt2:GPT2",
        "starcoder2": "starcoder2:STARCODER2",
        "cohere": "cohere:COHERE",
        "cohere2": "cohere:COHERE2",
        "nemotron": "nemotron:NEMOTRON",
        "ernie4_5": "ernie:ERNIE4_5",
        "exaone4": "exaone:EXAONE4",
        "seed_oss": "seed_oss:SEED_OSS",
        "hunyuan_v1_dense": "hunyuan:HUNYUAN_V1_DENSE",
        "minimax_m2": "minimax:MINIMAX_M2",
        "granitemoe": "granite:GRANITEMOE",
        "phimoe": "phimoe:PHIMOE",
        "deepseek_v2": "deepseek:DEEPSEEK_V2",
        "glm4_moe_lite": "glm_mla:GLM4_MOE_LITE",
        "deepseek_v32": "deepseek_v32:DEEPSEEK_V32",
        "glm_moe_dsa": "glm_mla:GLM_MOE_DSA",
        "longcat_flash": "longcat:LONGCAT_FLASH",
        "minicpm3": "minicpm3:MINICPM3",
        "mistral4": "mistral4:MISTRAL4",
        "youtu": "youtu:YOUTU",
        "sarvam_mla": "sarvam_mla:SARVAM_MLA",
        "apertus": "apertus:APERTUS",
        "gpt_bigcode": "gpt_bigcode:GPT_BIGCODE",
        "gptj": "gptj:GPTJ",
        "opt": "opt:OPT",
        "bloom": "bloom:BLOOM",
        "mpt": "mpt:MPT",
    },
)
"""Families by the `model_type` of their config."""

MODEL_TYPE_ALIASES = {"kimi_k2": "deepseek_v3"}
"""Families by other values of `model_type`, of models that are published with remote code."""
