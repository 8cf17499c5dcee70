"""The keyword arguments that `LLM.generate`, `complete`, `chat` and `benchmark` and a chat have in common."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypedDict

import attrs

from litgpt.application.prepare_requests import GenerationOptions, make_prompt_renderer
from litgpt.domain.chat.messages import Message
from litgpt.domain.generation.sampling_params import ModelDefault
from litgpt.domain.validation.call_signatures import SharedOptions, describe_typed_dict

ChatMessages: TypeAlias = Sequence[Message] | Sequence[Mapping[str, Any]]
"""A conversation: `[{"role": "user", "content": "Hello"}, …]`."""
Prompt: TypeAlias = str | ChatMessages
Prompts: TypeAlias = list[str] | tuple[str, ...] | list[list[Message]] | list[list[dict[str, Any]]]
Tools: TypeAlias = Sequence[Mapping[str, Any] | Callable[..., Any]]


class TemplateKwargs(TypedDict, total=False):
    """How a prompt is written.

    Attributes:
        tools: Tools that the model may call: JSON schemas, or Python functions with type hints and a
            docstring in Google's style.
        chat_template_kwargs: Variables of the chat template, such as `enable_thinking` or `documents`.
        continue_final_message: Continue the last message instead of answering it; a string names the
            field to continue in place of `content`.
        apply_chat_template: False sends the prompt as it is, for one that already went through a chat
            template; the tokenizer's beginning token is added unless the prompt begins with it.

    """

    tools: Tools | None
    chat_template_kwargs: Mapping[str, Any] | None
    continue_final_message: bool | str
    apply_chat_template: bool


class SamplingKwargs(TemplateKwargs, total=False):
    """The same, and how answers are drawn.

    Attributes:
        max_new_tokens: A bound on the answer, in tokens; None is the end of the context alone.
        temperature: Divides the logits; 0 takes the likeliest token. The default of this and the next two
            is the model's: `generation_config.json`, or 0.8, 50 and 1.0 if that has no sampling settings.
        top_k: How many of the likeliest tokens to draw from; None is all.
        top_p: Draw from the likeliest tokens with this much of the probability, from 0 to 1; 0 takes the
            likeliest.
        seed: A number that makes the draws repeatable, also within a batch; None draws one.
        stop: A string, or several, that end the answer and are not part of it.
        parse_special_tokens: Whether special tokens such as `<|im_end|>` in the prompt become control
            tokens, as in transformers. None: only in a text that no template is applied to.

    """

    max_new_tokens: int | None
    temperature: float | ModelDefault
    top_k: int | ModelDefault | None
    top_p: float | ModelDefault
    seed: int | None
    stop: str | Sequence[str] | None
    parse_special_tokens: bool | None


class GenerateKwargs(SamplingKwargs, total=False):
    """The same, and what the system says first.

    Attributes:
        sys_prompt: The system message that the conversation begins with; None is none.

    """

    sys_prompt: str | None


class ChatKwargs(SamplingKwargs, total=False):
    """How answers are drawn, and what is returned of them.

    Attributes:
        logprobs: Whether completions have the log-probability of each token.

    """

    logprobs: bool


SHARED_OPTIONS = SharedOptions(
    defaults={field.name: field.default for field in attrs.fields(GenerationOptions) if field.init}
    | {
        one.name: one.default
        for one in inspect.signature(make_prompt_renderer).parameters.values()
        if one.kind is one.KEYWORD_ONLY
    },
    descriptions=describe_typed_dict(TemplateKwargs, SamplingKwargs, GenerateKwargs, ChatKwargs),
)
"""What an option is that is left out, and what each means."""


def split_kwargs(kwargs: Mapping[str, Any]) -> tuple[GenerationOptions, TemplateKwargs]:
    """Return keyword arguments as those of sampling, and those that say how prompts are written.

    Raises:
        InvalidArgument: One of the former cannot be right.

    """
    templating: TemplateKwargs = {}
    for name in TemplateKwargs.__annotations__:
        if name in kwargs:
            templating[name] = kwargs[name]  # type: ignore[literal-required]
    return GenerationOptions(
        **{name: value for name, value in kwargs.items() if name not in templating}
    ), templating
