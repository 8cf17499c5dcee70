"""ChatML, and variants of it with a default system prompt."""

import attrs

from litgpt.domain.prompts.style import PromptStyle

CHATML = PromptStyle(
    name="chatml",
    saved_as="ChatML",
    system="<|im_start|>system\n{content}<|im_end|>\n",
    user="<|im_start|>user\n{content}<|im_end|>\n",
    answer="<|im_start|>assistant\n",
    end="<|im_end|>\n",
    stops=("<|im_end|>",),
)

QWEN2_5 = attrs.evolve(
    CHATML,
    name="qwen2.5",
    saved_as="Qwen2_5",
    default_system="You are Qwen, created by Alibaba Cloud. You are a helpful assistant.",
)
QWEN2_5_MATH = attrs.evolve(
    CHATML,
    name="qwen2.5-math",
    saved_as="Qwen2_5_Math",
    default_system="Please reason step by step, and put your final answer within \\boxed{}.",
)
QWQ = attrs.evolve(
    CHATML,
    name="qwq",
    saved_as="QwQ",
    default_system=(
        "You are a helpful and harmless assistant. You are Qwen developed by Alibaba. "
        "You should think step-by-step."
    ),
)
QWEN3 = attrs.evolve(CHATML, name="qwen3", saved_as="Qwen3")
SMOLLM2 = attrs.evolve(
    CHATML,
    name="smollm2",
    saved_as="SmolLM2",
    default_system="You are a helpful AI assistant named SmolLM, trained by Hugging Face",
)
SALAMANDRA = attrs.evolve(
    CHATML,
    name="salamandra",
    saved_as="Salamandra",
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
