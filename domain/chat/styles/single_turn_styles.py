"""Styles for a single question, and plain text.

Most were designed for instruction data of one question and one answer and do not define further turns.
"""

import attrs

from litgpt.domain.chat.styles.prompt_style import PromptStyle

PLAIN = PromptStyle(name="default", litgpt_name="Default")
"""Plain text, for base models."""

FLAN = PromptStyle(
    name="flan",
    litgpt_name="FLAN",
    system="{content}\n\n",
    default_system=(
        "Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request."
    ),
    user="### Instruction:\n{content}\n\n",
    generation_prompt="### Response:\n",
)
LONGFORM = attrs.evolve(
    FLAN,
    name="longform",
    litgpt_name="Longform",
    default_system=(
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request."
    ),
)

PLATYPUS = PromptStyle(
    name="platypus",
    litgpt_name="Platypus",
    user="### Instruction:\n\n{content}\n\n",
    generation_prompt="### Response:\n",
)

STABLECODE = PromptStyle(
    name="stablecode",
    litgpt_name="StableCode",
    user="###Instruction\n{content}",
    generation_prompt="###Response\n",
)

FALCON = PromptStyle(
    name="falcon",
    litgpt_name="Falcon",
    user="{content}\n",
    generation_prompt="Answer:",
    stop_sequences=("\nUser:",),
)
"""The model rarely generates EOS; it continues with the user's next turn, which is used as a stop string."""

PHI1 = PromptStyle(
    name="phi-1",
    litgpt_name="Phi1",
    user="{content}\n\n",
    generation_prompt="Answer:",
    stop_sequences=("\nAnswer:",),
)
"""Li et al. 2023, arXiv:2309.05463. The model continues with a second answer, which is a stop string."""

PHI2 = PromptStyle(
    name="phi-2", litgpt_name="Phi2", user="Instruct: {content}\n", generation_prompt="Output:"
)

LLAMA2_FUNCTION_CALLING = PromptStyle(
    name="llama2-function-calling",
    litgpt_name="Llama2FunctionCalling",
    bos=(
        '<FUNCTIONS>{{"function": "search_bing", "description": "Search the web for content on Bing. This'
        ' allows users to search online/the internet/the web for content.", "arguments": [{{"name": "query",'
        ' "type": "string", "description": "The search query string"}}]}}</FUNCTIONS>\n\n'
    ),
    system="<<SYS>>\n{content}\n<</SYS>>\n\n",
    default_system=(
        "You are a helpful, respectful and honest assistant. Always answer as helpfully aspossible. Your only"
        " response should be JSON formatted functions"
    ),
    user="[INST]{system}{content}[/INST]\n\n",
)
"""The doubled braces and `aspossible` are as in LitGPT, with which models were fine-tuned."""
