"""Conversation styles with model-specific role markers."""

import attrs

from litgpt.domain.prompts.questions import FLAN, LONGFORM
from litgpt.domain.prompts.style import PromptStyle

ALPACA = attrs.evolve(
    FLAN,
    name="alpaca",
    saved_as="Alpaca",
    end="\n\n",
    task="{instruction}\n\n### Input:\n{input}",
    task_system=LONGFORM.default_system,
)
"""Taori et al. 2023, Stanford Alpaca. Designed for single questions; further turns are appended."""

FREEWILLY2 = PromptStyle(
    name="freewilly2",
    saved_as="FreeWilly2",
    system="### System:\n{content}\n\n",
    default_system="This is a system prompt, please behave and help the user.",
    user="### User:\n{content}\n\n",
    answer="### Assistant:\n",
    end="\n\n",
)

STABLELM_ALPHA = PromptStyle(
    name="stablelm-alpha",
    saved_as="StableLMAlpha",
    system="<|SYSTEM|>{content}",
    default_system=(
        "# StableLM Tuned (Alpha version)\n- StableLM is a helpful and harmless open-source AI language model"
        " developed by StabilityAI.\n- StableLM is excited to be able to help the user, but will refuse to do"
        " anything that could be considered harmful to the user.\n- StableLM is more than just an"
        " information source, StableLM is also able to write poetry, short stories, and make jokes.\n-"
        " StableLM will refuse to participate in anything that could harm a human."
    ),
    user="<|USER|>{content}",
    answer="<|ASSISTANT|>",
    end="",
    stops=("<|SYSTEM|>", "<|ASSISTANT|>", "<|USER|>"),
)

STABLELM_ZEPHYR = PromptStyle(
    name="stablelm-zephyr",
    saved_as="StableLMZephyr",
    user="<|user|>\n{content}<|endoftext|>\n",
    answer="<|assistant|>\n",
    end="<|endoftext|>\n",
    stops=("<|endoftext|>",),
)
FALCON3 = attrs.evolve(STABLELM_ZEPHYR, name="falcon3", saved_as="Falcon3")

LLAMA2 = PromptStyle(
    name="llama2",
    saved_as="Llama2",
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
    end=" </s><s>",
)
"""Touvron et al. 2023, arXiv:2307.09288; the default system prompt is that of its appendix A.3.3."""

CODELLAMA = PromptStyle(
    name="codellama",
    saved_as="CodeLlama",
    system="<<SYS>>\n{content}\n<</SYS>>\n\n",
    user="[INST] {system}{content} [/INST]",
    lead=" ",
    end=" </s><s>",
)
"""Llama 2's style without a default system prompt. The model generates the space before its answer."""

LLAMA3 = PromptStyle(
    name="llama3",
    saved_as="Llama3",
    begin="<|begin_of_text|>",
    system="<|start_header_id|>system<|end_header_id|>\n\n{content}<|eot_id|>",
    default_system="You are a helpful assistant.",
    user="<|start_header_id|>user<|end_header_id|>\n\n{content}<|eot_id|>",
    answer="<|start_header_id|>assistant<|end_header_id|>\n\n",
    end="<|eot_id|>",
    stops=("<|eot_id|>",),
)

R1 = PromptStyle(
    name="r1-base",
    saved_as="R1Base",
    system="{content}",
    user="<｜User｜>{content}",  # noqa: RUF001 - the bars are the model's
    answer="<｜Assistant｜>",  # noqa: RUF001
    end="<｜end▁of▁sentence｜>",  # noqa: RUF001
    stops=("<｜end▁of▁sentence｜>",),  # noqa: RUF001
)
"""DeepSeek-AI 2025, arXiv:2501.12948, and the models distilled from it."""

GEMMA = PromptStyle(
    name="gemma",
    saved_as="Gemma",
    user="<start_of_turn>user\n{content}<end_of_turn>\n",
    answer="<start_of_turn>model\n",
    end="<end_of_turn>\n",
    stops=("<end_of_turn>",),
)

TINYLLAMA = PromptStyle(
    name="tinyllama",
    saved_as="TinyLlama",
    system="<|system|>\n{content}</s>\n",
    default_system="You are a friendly chatbot who always gives helpful, detailed, and polite answers.",
    user="<|user|>\n{content}</s>\n",
    answer="<|assistant|>\n",
    end="</s>\n",
)

OLMO = PromptStyle(
    name="olmo",
    saved_as="OLMo",
    begin="<|endoftext|>",
    system="<|system|>\n{content}\n",
    user="<|user|>\n{content}\n",
    answer="<|assistant|>\n",
    end="<|endoftext|>\n",
    stops=("<|endoftext|>",),
)
"""The chat format of OLMo and OLMo 2: Tülu's, with OLMo's single special token."""
