"""All supported families."""

from litgpt.domain.families.apertus import APERTUS
from litgpt.domain.families.bloom import BLOOM
from litgpt.domain.families.cohere import COHERE, COHERE2
from litgpt.domain.families.deepseek import DEEPSEEK_V2, DEEPSEEK_V3
from litgpt.domain.families.ernie import ERNIE4_5
from litgpt.domain.families.exaone import EXAONE4
from litgpt.domain.families.falcon import FALCON
from litgpt.domain.families.gemma import GEMMA, GEMMA2, GEMMA3_TEXT
from litgpt.domain.families.gemma3n import GEMMA3N_TEXT
from litgpt.domain.families.gemma4 import GEMMA4_TEXT
from litgpt.domain.families.glm import GLM4, GLM4_MOE
from litgpt.domain.families.gpt2 import GPT2
from litgpt.domain.families.gpt_bigcode import GPT_BIGCODE
from litgpt.domain.families.gpt_neox import GPT_NEOX
from litgpt.domain.families.gpt_oss import GPT_OSS
from litgpt.domain.families.gptj import GPTJ
from litgpt.domain.families.granite import GRANITE, GRANITEMOE
from litgpt.domain.families.hunyuan import HUNYUAN_V1_DENSE
from litgpt.domain.families.llama import LLAMA
from litgpt.domain.families.llama4 import LLAMA4_TEXT
from litgpt.domain.families.minimax import MINIMAX_M2
from litgpt.domain.families.mistral import MINISTRAL3, MISTRAL, MIXTRAL
from litgpt.domain.families.mpt import MPT
from litgpt.domain.families.nemotron import NEMOTRON
from litgpt.domain.families.olmo import OLMO, OLMO2, OLMO3
from litgpt.domain.families.opt import OPT
from litgpt.domain.families.phi import PHI, PHI3
from litgpt.domain.families.phimoe import PHIMOE
from litgpt.domain.families.qwen2 import QWEN2, QWEN2_MOE
from litgpt.domain.families.qwen3 import QWEN3, QWEN3_MOE
from litgpt.domain.families.qwen3_next import QWEN3_5_MOE_TEXT, QWEN3_5_TEXT, QWEN3_NEXT
from litgpt.domain.families.schema.family import Family
from litgpt.domain.families.seed_oss import SEED_OSS
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
        GEMMA3N_TEXT,
        GEMMA4_TEXT,
        GPT_OSS,
        LLAMA4_TEXT,
        QWEN3_5_TEXT,
        QWEN3_5_MOE_TEXT,
        QWEN3_NEXT,
        QWEN2_MOE,
        GLM4,
        GLM4_MOE,
        MINISTRAL3,
        SMOLLM3,
        OLMO3,
        GRANITE,
        GPT2,
        STARCODER2,
        COHERE,
        COHERE2,
        NEMOTRON,
        ERNIE4_5,
        EXAONE4,
        SEED_OSS,
        HUNYUAN_V1_DENSE,
        MINIMAX_M2,
        GRANITEMOE,
        PHIMOE,
        DEEPSEEK_V2,
        APERTUS,
        GPT_BIGCODE,
        GPTJ,
        OPT,
        BLOOM,
        MPT,
    )
}
"""Families by the `model_type` of their config."""
