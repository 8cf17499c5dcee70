"""The keyword arguments shared by `LLM.generate`, `complete`, `chat` and `benchmark`, and by `Chat`."""

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
    """Options of the chat template.

    Attributes:
        tools: Tools that the model may call: JSON schemas, or Python functions with type hints and a
            docstring in Google style.
        chat_template_kwargs: Variables of the chat template, such as `enable_thinking` or `documents`.
        continue_final_message: Continue the last message instead of answering it; a string names the field to
            continue in place of `content`.
        apply_chat_template: False passes the prompt unchanged, if a chat template has already been applied to
            it; the beginning-of-sequence token is added unless the prompt starts with it.
    """

    tools: Tools | None
    chat_template_kwargs: Mapping[str, Any] | None
    continue_final_message: bool | str
    apply_chat_template: bool


class NamedKwargs(TemplateKwargs, total=False):
    """The options that `LLM.generate` takes by name only; new options are added here.

    Attributes:
        seed: The seed of the random numbers, for reproducible answers, also within a batch; None: a random
            seed.
        stop: A string, or several strings, that end the answer and are not part of it.
        parse_special_tokens: Whether special tokens such as `<|im_end|>` in the prompt become control tokens,
            as in transformers. None: only in a text to which no template is applied.
    """

    seed: int | None
    stop: str | Sequence[str] | None
    parse_special_tokens: bool | None


class SamplingKwargs(NamedKwargs, total=False):
    """Options of the chat template and of sampling.

    Attributes:
        max_new_tokens: The maximum number of tokens of the answer; None: limited by the context length only.
        temperature: Divides the logits; 0 is greedy decoding. The defaults of this and the next two options
            are the model's: `generation_config.json`, or 0.8, 50 and 1.0 if that has no sampling settings.
        top_k: Sample from the k most likely tokens; None: from all tokens.
        top_p: Sample from the most likely tokens with this total probability, from 0 to 1 (nucleus sampling);
            0 is greedy decoding.
    """

    max_new_tokens: int | None
    temperature: float | ModelDefault
    top_k: int | ModelDefault | None
    top_p: float | ModelDefault


class GenerateKwargs(SamplingKwargs, total=False):
    """Options of the chat template and of sampling, and the system message.

    Attributes:
        sys_prompt: The system message of the conversation; None: no system message.
    """

    sys_prompt: str | None


class ChatKwargs(SamplingKwargs, total=False):
    """Options of the chat template, of sampling and of the result.

    Attributes:
        logprobs: Whether completions include the log-probability of each token.
    """

    logprobs: bool


SHARED_OPTIONS = SharedOptions(
    defaults={field.name: field.default for field in attrs.fields(GenerationOptions) if field.init}
    | {
        one.name: one.default
        for one in inspect.signature(make_prompt_renderer).parameters.values()
        if one.kind is one.KEYWORD_ONLY
    },
    descriptions=describe_typed_dict(TemplateKwargs, NamedKwargs, SamplingKwargs, GenerateKwargs, ChatKwargs),
)
"""The defaults and descriptions of the options."""


def split_kwargs(kwargs: Mapping[str, Any]) -> tuple[GenerationOptions, TemplateKwargs]:
    """Split keyword arguments into generation options and options of the chat template.

    Raises:
        InvalidArgument: A generation option is not valid.
    """
    templating: TemplateKwargs = {}
    for name in TemplateKwargs.__annotations__:
        if name in kwargs:
            templating[name] = kwargs[name]  # type: ignore[literal-required]
    return GenerationOptions(
        **{name: value for name, value in kwargs.items() if name not in templating}
    ), templating
