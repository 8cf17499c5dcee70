"""Prompt styles by model name, for checkpoints without a chat template or saved style.

The table contains only instruction-tuned models: `falcon-7b-instruct`, but not the base model `falcon-7b`.
Exceptions are phi-1.5 and phi-2, base models whose cards recommend this format for questions.
"""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import PurePath, PureWindowsPath

from litgpt.domain.chat.styles.chat_styles import (
    CODELLAMA,
    FALCON3,
    FREEWILLY2,
    GEMMA,
    LLAMA2,
    LLAMA3,
    OLMO,
    R1,
    STABLELM_ALPHA,
    STABLELM_ZEPHYR,
    TINYLLAMA,
)
from litgpt.domain.chat.styles.chatml import QWEN2_5, QWEN2_5_MATH, QWEN3, QWQ, SALAMANDRA, SMOLLM2
from litgpt.domain.chat.styles.phi import PHI3, PHI4, PHI4_MINI, PHI4_MINI_REASONING, PHI4_REASONING
from litgpt.domain.chat.styles.prompt_style import PromptStyle
from litgpt.domain.chat.styles.single_turn_styles import (
    FALCON,
    LLAMA2_FUNCTION_CALLING,
    PHI1,
    PHI2,
    PLATYPUS,
    STABLECODE,
)

STYLE_BY_MODEL_NAME: Mapping[str, PromptStyle] = {
    "codegemma-*-it": GEMMA,
    "codellama-7b-instruct*": CODELLAMA,
    "codellama-13b-instruct*": CODELLAMA,
    "codellama-34b-instruct*": CODELLAMA,  # the 70B model has another format
    "deepseek-r1*": R1,
    "falcon-*-instruct": FALCON,
    "falcon3-*-instruct": FALCON3,
    "freewilly2": FREEWILLY2,
    "stablebeluga2": FREEWILLY2,
    "gemma-2b-it": GEMMA,
    "gemma-7b-it": GEMMA,
    "gemma-1.1-*-it": GEMMA,
    "gemma-2-*-it": GEMMA,
    "gemma-3-*-it": GEMMA,
    "llama-2-*-chat*": LLAMA2,
    "llama-2-*-chat-hf-function-calling-v2": LLAMA2_FUNCTION_CALLING,
    "*llama-3*-instruct*": LLAMA3,
    "mistral-7b-instruct*": CODELLAMA,
    "mixtral-*-instruct*": CODELLAMA,
    "olmo-7b-instruct*": OLMO,
    "olmo-7b-sft*": OLMO,
    "olmo-2-*-instruct*": OLMO,
    "olmo-2-*-sft*": OLMO,
    "olmo-2-*-dpo*": OLMO,  # OLMo 3 has another format
    "phi-1_5": PHI1,
    "phi-1.5": PHI1,
    "phi-2": PHI2,
    "phi-3-*-instruct": PHI3,
    "phi-3.5-mini-instruct": PHI3,
    "phi-4": PHI4,
    "phi-4-mini-instruct": PHI4_MINI,
    "phi-4-mini-reasoning": PHI4_MINI_REASONING,
    "phi-4-reasoning*": PHI4_REASONING,
    "*platypus*": PLATYPUS,
    "*r1-distill-*": R1,
    "qwen2.5-*-instruct*": QWEN2_5,
    "qwen2.5-math-*-instruct*": QWEN2_5_MATH,
    "qwen3-[0-9]*b": QWEN3,
    "qwen3-[0-9]*-2507": QWEN3,
    "qwen3-coder-*-instruct*": QWEN3,
    "qwq-32b*": QWQ,
    "salamandra-*-instruct": SALAMANDRA,
    "smollm2-*-instruct": SMOLLM2,
    "stablecode-instruct-*": STABLECODE,
    "stablelm-tuned-alpha-*": STABLELM_ALPHA,
    "stablelm-zephyr-3b": STABLELM_ZEPHYR,
    "tiny-llama-1.1b-chat*": TINYLLAMA,
    "tinyllama-1.1b-chat-v1.0": TINYLLAMA,
}
"""Lowercase name patterns; of several matching ones, the longest is used."""

_GGUF_SUFFIX = re.compile(r"([.-](i?q\d\w*|b?f16|f32))?\.gguf")


def style_for_model(name: str) -> PromptStyle | None:
    """Return the style of a model by its name, if known.

    Only the last part of a repository, folder or file is used, in lower case and without the quantization
    suffix of a GGUF file.
    """
    last = (PureWindowsPath if "\\" in name else PurePath)(name).name.casefold()
    last = _GGUF_SUFFIX.sub("", last)
    matching = [pattern for pattern in STYLE_BY_MODEL_NAME if fnmatchcase(last, pattern)]
    return STYLE_BY_MODEL_NAME[max(matching, key=len)] if matching else None
