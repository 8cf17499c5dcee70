"""Conversation styles of Phi 3 and Phi 4."""

import attrs

from litgpt.domain.chat.styles.prompt_style import PromptStyle

PHI3 = PromptStyle(
    name="phi-3",
    litgpt_name="Phi3",
    system="<|system|>\n{content}<|end|>\n",
    default_system="You are a helpful assistant.",
    user="<|user|>\n{content}<|end|>\n",
    generation_prompt="<|assistant|>\n",
    turn_end="<|end|>\n",
    stop_sequences=("<|end|>",),
)

PHI4 = PromptStyle(
    name="phi-4",
    litgpt_name="Phi4",
    system="<|im_start|>system<|im_sep|>{content}<|im_end|>",
    user="<|im_start|>user<|im_sep|>{content}<|im_end|>",
    generation_prompt="<|im_start|>assistant<|im_sep|>",
    turn_end="<|im_end|>",
    stop_sequences=("<|im_end|>",),
)

PHI4_REASONING = attrs.evolve(
    PHI4,
    name="phi-4-reasoning",
    litgpt_name="Phi4Reasoning",
    default_system=(
        "You are Phi, a language model trained by Microsoft to help users. Your role as an assistant involves"
        " thoroughly exploring questions through a systematic thinking process before providing the final"
        " precise and accurate solutions. This requires engaging in a comprehensive cycle of analysis,"
        " summarizing, exploration, reassessment, reflection, backtracing, and iteration to develop"
        " well-considered thinking process. Please structure your response into two main sections: Thought"
        " and Solution using the specified format: <think> {Thought section} </think> {Solution section}. In"
        " the Thought section, detail your reasoning process in steps. Each step should include detailed"
        " considerations such as analysing questions, summarizing relevant findings, brainstorming new ideas,"
        " verifying the accuracy of the current steps, refining any errors, and revisiting previous steps. In"
        " the Solution section, based on various attempts, explorations, and reflections from the Thought"
        " section, systematically present the final solution that you deem correct. The Solution section"
        " should be logical, accurate, and concise and detail necessary steps needed to reach the conclusion."
        " Now, try to solve the following question through the above guidelines:"
    ),
)
"""LitGPT writes the first marker as `<|im_start>`, without a bar, which is not a token of the model."""

PHI4_MINI = PromptStyle(
    name="phi-4-mini",
    litgpt_name="Phi4Mini",
    system="<|system|>{content}<|end|>",
    user="<|user|>{content}<|end|>",
    generation_prompt="<|assistant|>",
    turn_end="<|end|>",
    stop_sequences=("<|end|>",),
)
PHI4_MINI_REASONING = attrs.evolve(
    PHI4_MINI,
    name="phi-4-mini-reasoning",
    litgpt_name="Phi4MiniReasoning",
    default_system="Your name is Phi, an AI math expert developed by Microsoft.",
)
