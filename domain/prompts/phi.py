"""Conversation styles of Phi 3 and Phi 4."""

import attrs

from litgpt.domain.prompts.style import PromptStyle

PHI3 = PromptStyle(
    name="phi-3",
    saved_as="Phi3",
    system="<|system|>\n{content}<|end|>\n",
    default_system="You are a helpful assistant.",
    user="<|user|>\n{content}<|end|>\n",
    answer="<|assistant|>\n",
    end="<|end|>\n",
    stops=("<|end|>",),
)

PHI4 = PromptStyle(
    name="phi-4",
    saved_as="Phi4",
    system="<|im_start|>system<|im_sep|>{content}<|im_end|>",
    user="<|im_start|>user<|im_sep|>{content}<|im_end|>",
    answer="<|im_start|>assistant<|im_sep|>",
    end="<|im_end|>",
    stops=("<|im_end|>",),
)

PHI4_REASONING = attrs.evolve(
    PHI4,
    name="phi-4-reasoning",
    saved_as="Phi4Reasoning",
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
    saved_as="Phi4Mini",
    system="<|system|>{content}<|end|>",
    user="<|user|>{content}<|end|>",
    answer="<|assistant|>",
    end="<|end|>",
    stops=("<|end|>",),
)
PHI4_MINI_REASONING = attrs.evolve(
    PHI4_MINI,
    name="phi-4-mini-reasoning",
    saved_as="Phi4MiniReasoning",
    default_system="Your name is Phi, an AI math expert developed by Microsoft.",
)
