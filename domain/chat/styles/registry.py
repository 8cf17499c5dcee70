"""All prompt styles.

They equal the styles of LitGPT 0.5.13 character by character, because models were fine-tuned with them.
Later turns and stop strings, which LitGPT does not define, follow the model cards.
"""

from litgpt.domain.chat.styles.chat_styles import (
    ALPACA,
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
from litgpt.domain.chat.styles.chatml import CHATML, QWEN2_5, QWEN2_5_MATH, QWEN3, QWQ, SALAMANDRA, SMOLLM2
from litgpt.domain.chat.styles.phi import PHI3, PHI4, PHI4_MINI, PHI4_MINI_REASONING, PHI4_REASONING
from litgpt.domain.chat.styles.prompt_style import PromptStyle
from litgpt.domain.chat.styles.single_turn_styles import (
    FALCON,
    FLAN,
    LLAMA2_FUNCTION_CALLING,
    LONGFORM,
    PHI1,
    PHI2,
    PLAIN,
    PLATYPUS,
    STABLECODE,
)

STYLES: tuple[PromptStyle, ...] = (
    PLAIN,
    ALPACA,
    FLAN,
    LONGFORM,
    STABLELM_ALPHA,
    STABLELM_ZEPHYR,
    FALCON,
    FALCON3,
    LLAMA2_FUNCTION_CALLING,
    LLAMA2,
    FREEWILLY2,
    PLATYPUS,
    STABLECODE,
    CODELLAMA,
    PHI1,
    PHI2,
    PHI3,
    PHI4,
    PHI4_REASONING,
    PHI4_MINI,
    PHI4_MINI_REASONING,
    TINYLLAMA,
    GEMMA,
    LLAMA3,
    R1,
    OLMO,
    CHATML,
    QWEN2_5,
    QWEN2_5_MATH,
    QWQ,
    QWEN3,
    SMOLLM2,
    SALAMANDRA,
)
