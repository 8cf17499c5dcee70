"""Tests of every prompt style's exact format, from the model card or LitGPT 0.5.13.

None stands for a system prompt or a conversation that the style does not support.
"""
# ruff: noqa: RUF001 - DeepSeek's marks have bars of full width

import attrs
import pytest

from litgpt.domain.chat.messages import Message
from litgpt.domain.chat.styles import STYLES, find_style
from litgpt.domain.errors import UnsupportedPrompt


@attrs.frozen
class Written:
    """Expected texts of "Q", of "S" and "Q", and of "Q", "A" and "R" (after "S" if supported)."""

    name: str
    question: str
    system: str | None
    conversation: str | None
    stops: tuple[str, ...] = ()


FORMATS = (
    Written(
        "default",
        "Q",
        None,
        None,
    ),
    Written(
        "alpaca",
        (
            "Below is an instruction that describes a task. Write a response that appropriately "
            "completes the request.\n\n### Instruction:\nQ\n\n### Response:\n"
        ),
        "S\n\n### Instruction:\nQ\n\n### Response:\n",
        "S\n\n### Instruction:\nQ\n\n### Response:\nA\n\n### Instruction:\nR\n\n### Response:\n",
    ),
    Written(
        "flan",
        (
            "Below is an instruction that describes a task. Write a response that appropriately "
            "completes the request.\n\n### Instruction:\nQ\n\n### Response:\n"
        ),
        "S\n\n### Instruction:\nQ\n\n### Response:\n",
        None,
    ),
    Written(
        "longform",
        (
            "Below is an instruction that describes a task, paired with an input that provides further "
            "context. Write a response that appropriately completes the request.\n\n### Instruction:\n"
            "Q\n\n### Response:\n"
        ),
        "S\n\n### Instruction:\nQ\n\n### Response:\n",
        None,
    ),
    Written(
        "stablelm-alpha",
        (
            "<|SYSTEM|># StableLM Tuned (Alpha version)\n- StableLM is a helpful and harmless "
            "open-source AI language model developed by StabilityAI.\n- StableLM is excited to be able "
            "to help the user, but will refuse to do anything that could be considered harmful to the "
            "user.\n- StableLM is more than just an information source, StableLM is also able to write "
            "poetry, short stories, and make jokes.\n- StableLM will refuse to participate in anything "
            "that could harm a human.<|USER|>Q<|ASSISTANT|>"
        ),
        "<|SYSTEM|>S<|USER|>Q<|ASSISTANT|>",
        "<|SYSTEM|>S<|USER|>Q<|ASSISTANT|>A<|USER|>R<|ASSISTANT|>",
        (
            "<|SYSTEM|>",
            "<|ASSISTANT|>",
            "<|USER|>",
        ),
    ),
    Written(
        "stablelm-zephyr",
        "<|user|>\nQ<|endoftext|>\n<|assistant|>\n",
        None,
        (
            "<|user|>\nQ<|endoftext|>\n<|assistant|>\nA<|endoftext|>\n<|user|>\nR<|endoftext|>\n"
            "<|assistant|>\n"
        ),
        ("<|endoftext|>",),
    ),
    Written(
        "falcon",
        "Q\nAnswer:",
        None,
        None,
        ("\nUser:",),
    ),
    Written(
        "falcon3",
        "<|user|>\nQ<|endoftext|>\n<|assistant|>\n",
        None,
        (
            "<|user|>\nQ<|endoftext|>\n<|assistant|>\nA<|endoftext|>\n<|user|>\nR<|endoftext|>\n"
            "<|assistant|>\n"
        ),
        ("<|endoftext|>",),
    ),
    Written(
        "llama2-function-calling",
        (
            '<FUNCTIONS>{{"function": "search_bing", "description": "Search the web for content on '
            'Bing. This allows users to search online/the internet/the web for content.", "arguments": '
            '[{{"name": "query", "type": "string", "description": "The search query '
            'string"}}]}}</FUNCTIONS>\n\n[INST]<<SYS>>\nYou are a helpful, respectful and honest '
            "assistant. Always answer as helpfully aspossible. Your only response should be JSON "
            "formatted functions\n<</SYS>>\n\nQ[/INST]\n\n"
        ),
        (
            '<FUNCTIONS>{{"function": "search_bing", "description": "Search the web for content on '
            'Bing. This allows users to search online/the internet/the web for content.", "arguments": '
            '[{{"name": "query", "type": "string", "description": "The search query '
            'string"}}]}}</FUNCTIONS>\n\n[INST]<<SYS>>\nS\n<</SYS>>\n\nQ[/INST]\n\n'
        ),
        None,
    ),
    Written(
        "llama2",
        (
            "[INST] <<SYS>>\nYou are a helpful, respectful and honest assistant. Always answer as "
            "helpfully as possible, while being safe.  Your answers should not include any harmful, "
            "unethical, racist, sexist, toxic, dangerous, or illegal content. Please ensure that your "
            "responses are socially unbiased and positive in nature.\n\nIf a question does not make "
            "any sense, or is not factually coherent, explain why instead of answering something not "
            "correct. If you don't know the answer to a question, please don't share false "
            "information.\n<</SYS>>\n\n Q [/INST] "
        ),
        "[INST] <<SYS>>\nS\n<</SYS>>\n\n Q [/INST] ",
        "[INST] <<SYS>>\nS\n<</SYS>>\n\n Q [/INST] A </s><s>[INST] R [/INST] ",
    ),
    Written(
        "freewilly2",
        (
            "### System:\nThis is a system prompt, please behave and help the user.\n\n### User:\nQ\n\n"
            "### Assistant:\n"
        ),
        "### System:\nS\n\n### User:\nQ\n\n### Assistant:\n",
        "### System:\nS\n\n### User:\nQ\n\n### Assistant:\nA\n\n### User:\nR\n\n### Assistant:\n",
    ),
    Written(
        "platypus",
        "### Instruction:\n\nQ\n\n### Response:\n",
        None,
        None,
    ),
    Written(
        "stablecode",
        "###Instruction\nQ###Response\n",
        None,
        None,
    ),
    Written(
        "codellama",
        "[INST] Q [/INST]",
        "[INST] <<SYS>>\nS\n<</SYS>>\n\nQ [/INST]",
        "[INST] <<SYS>>\nS\n<</SYS>>\n\nQ [/INST] A </s><s>[INST] R [/INST]",
    ),
    Written(
        "phi-1",
        "Q\n\nAnswer:",
        None,
        None,
        ("\nAnswer:",),
    ),
    Written(
        "phi-2",
        "Instruct: Q\nOutput:",
        None,
        None,
    ),
    Written(
        "phi-3",
        "<|system|>\nYou are a helpful assistant.<|end|>\n<|user|>\nQ<|end|>\n<|assistant|>\n",
        "<|system|>\nS<|end|>\n<|user|>\nQ<|end|>\n<|assistant|>\n",
        (
            "<|system|>\nS<|end|>\n<|user|>\nQ<|end|>\n<|assistant|>\nA<|end|>\n<|user|>\nR<|end|>\n"
            "<|assistant|>\n"
        ),
        ("<|end|>",),
    ),
    Written(
        "phi-4",
        "<|im_start|>user<|im_sep|>Q<|im_end|><|im_start|>assistant<|im_sep|>",
        "<|im_start|>system<|im_sep|>S<|im_end|><|im_start|>user<|im_sep|>Q<|im_end|><|im_start|>assistant<|im_sep|>",
        "<|im_start|>system<|im_sep|>S<|im_end|><|im_start|>user<|im_sep|>Q<|im_end|><|im_start|>assistant<|im_sep|>A<|im_end|><|im_start|>user<|im_sep|>R<|im_end|><|im_start|>assistant<|im_sep|>",
        ("<|im_end|>",),
    ),
    Written(
        "phi-4-reasoning",
        (
            "<|im_start|>system<|im_sep|>You are Phi, a language model trained by Microsoft to help "
            "users. Your role as an assistant involves thoroughly exploring questions through a "
            "systematic thinking process before providing the final precise and accurate solutions. "
            "This requires engaging in a comprehensive cycle of analysis, summarizing, exploration, "
            "reassessment, reflection, backtracing, and iteration to develop well-considered thinking "
            "process. Please structure your response into two main sections: Thought and Solution "
            "using the specified format: <think> {Thought section} </think> {Solution section}. In the "
            "Thought section, detail your reasoning process in steps. Each step should include "
            "detailed considerations such as analysing questions, summarizing relevant findings, "
            "brainstorming new ideas, verifying the accuracy of the current steps, refining any "
            "errors, and revisiting previous steps. In the Solution section, based on various "
            "attempts, explorations, and reflections from the Thought section, systematically present "
            "the final solution that you deem correct. The Solution section should be logical, "
            "accurate, and concise and detail necessary steps needed to reach the conclusion. Now, try "
            "to solve the following question through the above "
            "guidelines:<|im_end|><|im_start|>user<|im_sep|>Q<|im_end|><|im_start|>assistant<|im_sep|>"
        ),
        "<|im_start|>system<|im_sep|>S<|im_end|><|im_start|>user<|im_sep|>Q<|im_end|><|im_start|>assistant<|im_sep|>",
        "<|im_start|>system<|im_sep|>S<|im_end|><|im_start|>user<|im_sep|>Q<|im_end|><|im_start|>assistant<|im_sep|>A<|im_end|><|im_start|>user<|im_sep|>R<|im_end|><|im_start|>assistant<|im_sep|>",
        ("<|im_end|>",),
    ),
    Written(
        "phi-4-mini",
        "<|user|>Q<|end|><|assistant|>",
        "<|system|>S<|end|><|user|>Q<|end|><|assistant|>",
        "<|system|>S<|end|><|user|>Q<|end|><|assistant|>A<|end|><|user|>R<|end|><|assistant|>",
        ("<|end|>",),
    ),
    Written(
        "phi-4-mini-reasoning",
        (
            "<|system|>Your name is Phi, an AI math expert developed by "
            "Microsoft.<|end|><|user|>Q<|end|><|assistant|>"
        ),
        "<|system|>S<|end|><|user|>Q<|end|><|assistant|>",
        "<|system|>S<|end|><|user|>Q<|end|><|assistant|>A<|end|><|user|>R<|end|><|assistant|>",
        ("<|end|>",),
    ),
    Written(
        "tinyllama",
        (
            "<|system|>\nYou are a friendly chatbot who always gives helpful, detailed, and polite "
            "answers.</s>\n<|user|>\nQ</s>\n<|assistant|>\n"
        ),
        "<|system|>\nS</s>\n<|user|>\nQ</s>\n<|assistant|>\n",
        "<|system|>\nS</s>\n<|user|>\nQ</s>\n<|assistant|>\nA</s>\n<|user|>\nR</s>\n<|assistant|>\n",
    ),
    Written(
        "gemma",
        "<start_of_turn>user\nQ<end_of_turn>\n<start_of_turn>model\n",
        None,
        (
            "<start_of_turn>user\nQ<end_of_turn>\n<start_of_turn>model\nA<end_of_turn>\n"
            "<start_of_turn>user\nR<end_of_turn>\n<start_of_turn>model\n"
        ),
        ("<end_of_turn>",),
    ),
    Written(
        "llama3",
        (
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nYou are a helpful "
            "assistant.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
            "Q<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
        ),
        (
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
            "S<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
            "Q<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
        ),
        (
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
            "S<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
            "Q<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
            "A<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
            "R<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
        ),
        ("<|eot_id|>",),
    ),
    Written(
        "r1-base",
        "<｜User｜>Q<｜Assistant｜>",
        "S<｜User｜>Q<｜Assistant｜>",
        "S<｜User｜>Q<｜Assistant｜>A<｜end▁of▁sentence｜><｜User｜>R<｜Assistant｜>",
        ("<｜end▁of▁sentence｜>",),
    ),
    Written(
        "olmo",
        "<|endoftext|><|user|>\nQ\n<|assistant|>\n",
        "<|endoftext|><|system|>\nS\n<|user|>\nQ\n<|assistant|>\n",
        (
            "<|endoftext|><|system|>\nS\n<|user|>\nQ\n<|assistant|>\nA<|endoftext|>\n<|user|>\nR\n"
            "<|assistant|>\n"
        ),
        ("<|endoftext|>",),
    ),
    Written(
        "chatml",
        "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n",
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n",
        (
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"
            "A<|im_end|>\n<|im_start|>user\nR<|im_end|>\n<|im_start|>assistant\n"
        ),
        ("<|im_end|>",),
    ),
    Written(
        "qwen2.5",
        (
            "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful "
            "assistant.<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"
        ),
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n",
        (
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"
            "A<|im_end|>\n<|im_start|>user\nR<|im_end|>\n<|im_start|>assistant\n"
        ),
        ("<|im_end|>",),
    ),
    Written(
        "qwen2.5-math",
        (
            "<|im_start|>system\nPlease reason step by step, and put your final answer within "
            "\\boxed{}.<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"
        ),
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n",
        (
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"
            "A<|im_end|>\n<|im_start|>user\nR<|im_end|>\n<|im_start|>assistant\n"
        ),
        ("<|im_end|>",),
    ),
    Written(
        "qwq",
        (
            "<|im_start|>system\nYou are a helpful and harmless assistant. You are Qwen developed by "
            "Alibaba. You should think step-by-step.<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n"
            "<|im_start|>assistant\n"
        ),
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n",
        (
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"
            "A<|im_end|>\n<|im_start|>user\nR<|im_end|>\n<|im_start|>assistant\n"
        ),
        ("<|im_end|>",),
    ),
    Written(
        "qwen3",
        "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n",
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n",
        (
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"
            "A<|im_end|>\n<|im_start|>user\nR<|im_end|>\n<|im_start|>assistant\n"
        ),
        ("<|im_end|>",),
    ),
    Written(
        "smollm2",
        (
            "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
            "Face<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"
        ),
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n",
        (
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"
            "A<|im_end|>\n<|im_start|>user\nR<|im_end|>\n<|im_start|>assistant\n"
        ),
        ("<|im_end|>",),
    ),
    Written(
        "salamandra",
        (
            "<|im_start|>system\nI am Salamandra, an AI language model developed at the Barcelona "
            "Supercomputing Centre (BSC) by the Language Technologies Unit. My knowledge base was last "
            "updated on August 2023. Today Date: 2024-09-30\nSoy Salamandra, un modelo lingüístico de "
            "IA desarrollado en el Barcelona Supercomputing Centre (BSC) por la Language Technologies "
            "Unit. Mi base de conocimientos se actualizó por última vez en agosto de 2023.\nSoc "
            "Salamandra, un model de llenguatge d'IA desenvolupat al Barcelona Supercomputing Centre "
            "(BSC) per la Language Technologies Unit.<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n"
            "<|im_start|>assistant\n"
        ),
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n",
        (
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n"
            "A<|im_end|>\n<|im_start|>user\nR<|im_end|>\n<|im_start|>assistant\n"
        ),
        ("<|im_end|>",),
    ),
)

QUESTION = (Message("user", "Q"),)
SYSTEM = Message("system", "S")
MORE = (Message("assistant", "A"), Message("user", "R"))

every_format = pytest.mark.parametrize("written", FORMATS, ids=lambda style: style.name)


def test_every_style_is_written_out_here() -> None:
    assert [written.name for written in FORMATS] == [style.name for style in STYLES]


@every_format
def test_a_question_is_formatted_as_in_training(written: Written) -> None:
    assert find_style(written.name).render(QUESTION) == written.question


@every_format
def test_a_system_prompt_takes_the_place_of_the_default_or_is_refused(written: Written) -> None:
    style = find_style(written.name)
    if written.system is None:
        with pytest.raises(UnsupportedPrompt, match=f"{written.name} .*system prompt"):
            style.render((SYSTEM, *QUESTION))
    else:
        assert style.render((SYSTEM, *QUESTION)) == written.system


@every_format
def test_a_conversation_keeps_all_of_its_turns_or_is_refused(written: Written) -> None:
    style, first = find_style(written.name), () if written.system is None else (SYSTEM,)
    if written.conversation is None:
        with pytest.raises(UnsupportedPrompt, match=f"{written.name} .*one question at a time"):
            style.render((*first, *QUESTION, *MORE))
    else:
        assert style.render((*first, *QUESTION, *MORE)) == written.conversation


@every_format
def test_an_answer_ends_where_the_model_ends_it(written: Written) -> None:
    assert find_style(written.name).stop_sequences == written.stops
