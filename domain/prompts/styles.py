"""The prompt styles; a new one is one value here.

They are written as LitGPT 0.5.13 writes them, character by character, because models were tuned with that.
"""

import attrs

from litgpt.domain.prompts.style import PromptStyle

PLAIN = PromptStyle(name="default", saved_as="Default")
"""The text as it is: for models that continue and were never taught to answer."""

ALPACA = PromptStyle(
    name="alpaca",
    saved_as="Alpaca",
    system="{content}\n\n",
    default_system=(
        "Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request."
    ),
    user="### Instruction:\n{content}\n\n",
    answer="### Response:\n",
    end="\n\n",
)
"""Taori et al. 2023, Stanford Alpaca. It was made for single questions; turns are put one after another."""

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

STYLES: tuple[PromptStyle, ...] = (
    PLAIN,
    ALPACA,
    CHATML,
    QWEN2_5,
    QWEN2_5_MATH,
    QWQ,
    QWEN3,
    SMOLLM2,
    LLAMA2,
    LLAMA3,
    GEMMA,
    TINYLLAMA,
)
