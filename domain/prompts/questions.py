"""Styles that know one question and no conversation, and plain text.

Most were made for instruction data of one question and one answer; a second turn would be a guess.
"""

import attrs

from litgpt.domain.prompts.style import PromptStyle

PLAIN = PromptStyle(name="default", saved_as="Default")
"""The text as it is: for models that continue and were never taught to answer."""

FLAN = PromptStyle(
    name="flan",
    saved_as="FLAN",
    system="{content}\n\n",
    default_system=(
        "Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request."
    ),
    user="### Instruction:\n{content}\n\n",
    answer="### Response:\n",
)
LONGFORM = attrs.evolve(
    FLAN,
    name="longform",
    saved_as="Longform",
    default_system=(
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        "Write a response that appropriately completes the request."
    ),
)

PLATYPUS = PromptStyle(
    name="platypus",
    saved_as="Platypus",
    user="### Instruction:\n\n{content}\n\n",
    answer="### Response:\n",
)

STABLECODE = PromptStyle(
    name="stablecode", saved_as="StableCode", user="###Instruction\n{content}", answer="###Response\n"
)

FALCON = PromptStyle(
    name="falcon", saved_as="Falcon", user="{content}\n", answer="Answer:", stops=("\nUser:",)
)
"""It seldom ends by itself: it goes on with the user's next line, which is where its answer ends."""

PHI1 = PromptStyle(
    name="phi-1", saved_as="Phi1", user="{content}\n\n", answer="Answer:", stops=("\nAnswer:",)
)
"""Li et al. 2023, arXiv:2309.05463. It goes on with a second answer, which is where the first one ends."""

PHI2 = PromptStyle(name="phi-2", saved_as="Phi2", user="Instruct: {content}\n", answer="Output:")

LLAMA2_FUNCTION_CALLING = PromptStyle(
    name="llama2-function-calling",
    saved_as="Llama2FunctionCalling",
    begin=(
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
"""The doubled braces and `aspossible` are LitGPT's, which models were tuned with."""
