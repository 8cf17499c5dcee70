"""ChatML, and variants of it with a default system prompt."""

import attrs

from litgpt.domain.chat.styles.prompt_style import PromptStyle

CHATML = PromptStyle(
    name="chatml",
    litgpt_name="ChatML",
    system="<|im_start|>system\n{content}<|im_end|>\n",
    user="<|im_start|>user\n{content}<|im_end|>\n",
    generation_prompt="<|im_start|>assistant\n",
    turn_end="<|im_end|>\n",
    stop_sequences=("<|im_end|>",),
)

QWEN2_5 = attrs.evolve(
    CHATML,
    name="qwen2.5",
    litgpt_name="Qwen2_5",
    default_system="You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
)
QWEN2_5_MATH = attrs.evolve(
    CHATML,
    name="qwen2.5-math",
    litgpt_name="Qwen2_5_Math",
    default_system="Please reason step by step, and put your final answer within \\boxed{}.",
)
QWQ = attrs.evolve(
    CHATML,
    name="qwq",
    litgpt_name="QwQ",
    default_system=(
        "You are a helpful and harmless assistant. You are Qwen developed by Alibaba. "
        "You should think step-by-step."
    ),
)
QWEN3 = attrs.evolve(CHATML, name="qwen3", litgpt_name="Qwen3")
SMOLLM2 = attrs.evolve(
    CHATML,
    name="smollm2",
    litgpt_name="SmolLM2",
    default_system="You are a helpful AI assistant named SmolLM, trained by Hugging Face",
)
SALAMANDRA = attrs.evolve(
    CHATML,
    name="salamandra",
    litgpt_name="Salamandra",
    default_system=(
        "I am Salamandra, an AI language model developed at the Barcelona Supercomputing Centre (BSC) by the"
        " Language Technologies Unit. My knowledge base was last updated on August 2023. Today Date:"
        " 2024-09-30\nSoy Salamandra, un modelo lingüístico de IA desarrollado en el Barcelona"
        " Supercomputing Centre (BSC) por la Language Technologies Unit. Mi base de conocimientos se"
        " actualizó por última vez en agosto de 2023.\nSoc Salamandra, un model de llenguatge d'IA"
        " desenvolupat al Barcelona Supercomputing Centre (BSC) per la Language Technologies Unit."
    ),
)
"""The date is a fixed part of the prompt in the model card."""
