"""Conversation styles with model-specific role markers."""

import attrs

from litgpt.domain.chat.styles.prompt_style import PromptStyle
from litgpt.domain.chat.styles.single_turn_styles import FLAN, LONGFORM

ALPACA = attrs.evolve(
    FLAN,
    name="alpaca",
    litgpt_name="Alpaca",
    turn_end="\n\n",
    instruction_template="{instruction}\n\n### Input:\n{input}",
    instruction_system=LONGFORM.default_system,
)
"""Taori et al. 2023, Stanford Alpaca. Designed for single questions; further turns are appended."""

FREEWILLY2 = PromptStyle(
    name="freewilly2",
    litgpt_name="FreeWilly2",
    system="### System:\n{content}\n\n",
    default_system="This is a system prompt, please behave and help the user.",
    user="### User:\n{content}\n\n",
    generation_prompt="### Assistant:\n",
    turn_end="\n\n",
)

STABLELM_ALPHA = PromptStyle(
    name="stablelm-alpha",
    litgpt_name="StableLMAlpha",
    system="<|SYSTEM|>{content}",
    default_system=(
        "# StableLM Tuned (Alpha version)\n- StableLM is a helpful and harmless open-source AI language model"
        " developed by StabilityAI.\n- StableLM is excited to be able to help the user, but will refuse to do"
        " anything that could be considered harmful to the user.\n- StableLM is more than just an"
        " information source, StableLM is also able to write poetry, short stories, and make jokes.\n-"
        " StableLM will refuse to participate in anything that could harm a human."
    ),
    user="<|USER|>{content}",
    generation_prompt="<|ASSISTANT|>",
    turn_end="",
    stop_sequences=("<|SYSTEM|>", "<|ASSISTANT|>", "<|USER|>"),
)

STABLELM_ZEPHYR = PromptStyle(
    name="stablelm-zephyr",
    litgpt_name="StableLMZephyr",
    user="<|user|>\n{content}<|endoftext|>\n",
    generation_prompt="<|assistant|>\n",
    turn_end="<|endoftext|>\n",
    stop_sequences=("<|endoftext|>",),
)
FALCON3 = attrs.evolve(STABLELM_ZEPHYR, name="falcon3", litgpt_name="Falcon3")

LLAMA2 = PromptStyle(
    name="llama2",
    litgpt_name="Llama2",
    system="<<SYS>>\n{content}\n<</SYS>>\n\n ",
    default_system=(
        "You are a helpful, respectful and honest assistant. Always answer as helpfully as possible, while"
        " being safe.  Your answers should not include any harmful, unethical, racist, sexist, toxic,"
        " dangerous, or illegal content. Please ensure that your responses are socially unbiased and positive"
        " in nature.\n\nIf a question does not make any sense, or is not factually coherent, explain why"
        " instead of answering something not correct. If you don't know the answer to a question, please"
        " don't share false information."
    ),
    user="[INST] {system}{content} [/INST] ",
    turn_end=" </s><s>",
)
"""Touvron et al. 2023, arXiv:2307.09288; the default system prompt is that of its appendix A.3.3."""

CODELLAMA = PromptStyle(
    name="codellama",
    litgpt_name="CodeLlama",
    system="<<SYS>>\n{content}\n<</SYS>>\n\n",
    user="[INST] {system}{content} [/INST]",
    answer_prefix=" ",
    turn_end=" </s><s>",
)
"""Llama 2's style without a default system prompt. The model generates the space before its answer."""

LLAMA3 = PromptStyle(
    name="llama3",
    litgpt_name="Llama3",
    bos="<|begin_of_text|>",
    system="<|start_header_id|>system<|end_header_id|>\n\n{content}<|eot_id|>",
    default_system="You are a helpful assistant.",
    user="<|start_header_id|>user<|end_header_id|>\n\n{content}<|eot_id|>",
    generation_prompt="<|start_header_id|>assistant<|end_header_id|>\n\n",
    turn_end="<|eot_id|>",
    stop_sequences=("<|eot_id|>",),
)

R1 = PromptStyle(
    name="r1-base",
    litgpt_name="R1Base",
    system="{content}",
    user="<｜User｜>{content}",  # noqa: RUF001 - the bars are the model's
    generation_prompt="<｜Assistant｜>",  # noqa: RUF001
    turn_end="<｜end▁of▁sentence｜>",  # noqa: RUF001
    stop_sequences=("<｜end▁of▁sentence｜>",),  # noqa: RUF001
)
"""DeepSeek-AI 2025, arXiv:2501.12948, and the models distilled from it."""

GEMMA = PromptStyle(
    name="gemma",
    litgpt_name="Gemma",
    user="<start_of_turn>user\n{content}<end_of_turn>\n",
    generation_prompt="<start_of_turn>model\n",
    turn_end="<end_of_turn>\n",
    stop_sequences=("<end_of_turn>",),
)

TINYLLAMA = PromptStyle(
    name="tinyllama",
    litgpt_name="TinyLlama",
    system="<|system|>\n{content}</s>\n",
    default_system="You are a friendly chatbot who always gives helpful, detailed, and polite answers.",
    user="<|user|>\n{content}</s>\n",
    generation_prompt="<|assistant|>\n",
    turn_end="</s>\n",
)

OLMO = PromptStyle(
    name="olmo",
    litgpt_name="OLMo",
    bos="<|endoftext|>",
    system="<|system|>\n{content}\n",
    user="<|user|>\n{content}\n",
    generation_prompt="<|assistant|>\n",
    turn_end="<|endoftext|>\n",
    stop_sequences=("<|endoftext|>",),
)
"""The chat format of OLMo and OLMo 2: Tülu's, with OLMo's single special token."""
