"""The keyword arguments shared by `LLM.generate`, `complete`, `chat` and `benchmark`, and by `Chat`."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias, TypedDict

import attrs

from litgpt.application.generation_options import GenerationOptions
from litgpt.application.prepare_requests import make_prompt_renderer
from litgpt.domain.chat.messages import Message
from litgpt.domain.generation.sampling_params import ModelDefault
from litgpt.domain.generation.token_arguments import LogitsProcessor
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
        tool_choice: `auto`: the model decides whether it calls tools; `none`: it is not shown them;
            `required`: the answer, after its reasoning, consists of calls; the name of a tool, or OpenAI's
            `{"type": "function", "function": {"name": …}}`: of calls of this tool. `required` and names need
            `pip install "litgpt[structured]"`.
        parallel_tool_calls: Whether an answer may have several calls; False ends it after the first one.
        chat_template_kwargs: Variables of the chat template, such as `enable_thinking` or `documents`.
        continue_final_message: Continue the last message instead of answering it; a string names the field to
            continue in place of `content`.
        apply_chat_template: False passes the prompt unchanged, if a chat template has already been applied to
            it; the beginning-of-sequence token is added unless the prompt starts with it.
    """

    tools: Tools | None
    tool_choice: str | Mapping[str, Any]
    parallel_tool_calls: bool
    chat_template_kwargs: Mapping[str, Any] | None
    continue_final_message: bool | str
    apply_chat_template: bool


class NamedKwargs(TemplateKwargs, total=False):
    """The options that `LLM.generate` takes by name only; new options are added here.

    Attributes:
        regex: A regular expression that the whole answer matches, in the syntax of Rust's crate regex.
        grammar: A grammar in Lark's syntax that the answer matches.
        choices: Strings, of which the answer is one. This, `regex`, `grammar` and `schema` need
            `pip install "litgpt[structured]"`; at most one of them is possible.
        seed: The seed of the random numbers, for reproducible answers, also within a batch; None: a random
            seed.
        min_p: Sample from the tokens with at least this fraction of the highest probability, from 0 to 1. The
            defaults of this and the next two options are the model's, or else 0, 1 and 1, which disable them.
        typical_p: Sample from the tokens whose information content is the closest to the entropy, with this
            total probability (locally typical sampling).
        repetition_penalty: Makes the tokens of the prompt and the answer less likely, if more than 1, as in
            transformers: divides positive logits and multiplies negative ones.
        presence_penalty: Subtracted from the logits of the tokens of the answer, from -2 to 2, as in OpenAI's
            API.
        frequency_penalty: Subtracted from the logits of the tokens of the answer, times their number in it,
            from -2 to 2.
        logit_bias: Added to logits: a dict of token ids and numbers from -100 to 100.
        allowed_token_ids: The only tokens that can be sampled; None: all.
        bad_words: Strings or lists of token ids that do not appear in the answer, in the tokens that the
            tokenizer makes of a string at the beginning of a text and after a space.
        min_tokens: The number of tokens before which neither a stop token nor a stop string ends the answer.
        dry_multiplier: The strength of DRY, which penalizes tokens that extend a repetition of the text, by
            `dry_multiplier * dry_base ** (n - dry_allowed_length)` after n repeated tokens; 0 disables it.
        dry_base: See `dry_multiplier`.
        dry_allowed_length: The number n of repeated tokens from which on DRY applies.
        dry_sequence_breakers: Strings, of which the last token counts, and token ids, at which a repetition
            begins anew.
        xtc_probability: The probability with which XTC excludes the likeliest tokens: all of at least
            `xtc_threshold` except the least likely of them; 0 disables it.
        xtc_threshold: A probability up to 0.5; see `xtc_probability`.
        logits_processor: A function of the token ids so far and the logits (V,) of the next token, an array
            of numpy with the native engine and a tensor with torch, that returns new logits; or a list of
            them.
        stop: A string, or several strings, that end the answer and are not part of it.
        include_stop: Whether such a string is part of the answer all the same.
        stop_token_ids: Tokens that end the answer, besides those of the model.
        ignore_eos: Whether to continue after the stop tokens and stop strings of the model.
        cache_prompt: Whether the KV cache of the prompt and the answer may be shared with other requests.
        reasoning_budget: The largest number of tokens of the reasoning, after which the mark that ends it
            follows, such as `</think>`; 0 ends it at once. None: any number.
        prompt_lookup_num_tokens: The largest number of tokens of a draft from earlier text, which speeds
            repetitions up and changes no answer; None: as many as pay; 0 disables it.
        parse_special_tokens: Whether special tokens such as `<|im_end|>` in the prompt become control tokens,
            as in transformers. None: only in a text to which no template is applied.
        adapter: The LoRA adapter that computes the answer, one of `llm.adapters`, whichever is active; None:
            the active one, or the base model if none is.
    """

    regex: str | None
    grammar: str | None
    choices: Sequence[str] | None
    seed: int | None
    min_p: float | ModelDefault
    typical_p: float | ModelDefault
    repetition_penalty: float | ModelDefault
    presence_penalty: float
    frequency_penalty: float
    logit_bias: Mapping[int, float] | None
    allowed_token_ids: Sequence[int] | None
    bad_words: str | Sequence[str | Sequence[int]] | None
    min_tokens: int
    dry_multiplier: float
    dry_base: float
    dry_allowed_length: int
    dry_sequence_breakers: str | Sequence[str | int] | None
    xtc_probability: float
    xtc_threshold: float
    logits_processor: LogitsProcessor | Sequence[LogitsProcessor] | None
    stop: str | Sequence[str] | None
    include_stop: bool
    stop_token_ids: Sequence[int] | None
    ignore_eos: bool
    reasoning_budget: int | None
    cache_prompt: bool
    prompt_lookup_num_tokens: int | None
    parse_special_tokens: bool | None
    adapter: str | None


class PromptLogprobsKwargs(TypedDict, total=False):
    """The log-probabilities of the prompt.

    Attributes:
        prompt_logprobs: Return completions that include the log-probability of each token of the prompt, and
            those of this many likeliest tokens at its place; 0: only the token's own; None: neither.
    """

    prompt_logprobs: int | None


class NamedGenerateKwargs(NamedKwargs, PromptLogprobsKwargs, total=False):
    """All options that `LLM.generate` takes by name only; with some of them, it returns completions."""


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


class ChatKwargs(SamplingKwargs, PromptLogprobsKwargs, total=False):
    """Options of the chat template, of sampling and of the result.

    Attributes:
        logprobs: Whether completions include the log-probability of each token.
        top_logprobs: The number of likeliest tokens whose log-probabilities completions include for each
            token; more than 0 implies `logprobs`.
        schema: A JSON schema, as a dict, that the answer matches; or a pydantic model, dataclass or attrs
            class, for which it is derived.
    """

    logprobs: bool
    top_logprobs: int
    schema: Any


SHARED_OPTIONS = SharedOptions(
    defaults={field.name: field.default for field in attrs.fields(GenerationOptions) if field.init}
    | {
        one.name: one.default
        for one in inspect.signature(make_prompt_renderer).parameters.values()
        if one.kind is one.KEYWORD_ONLY
    },
    descriptions=describe_typed_dict(
        TemplateKwargs, NamedKwargs, PromptLogprobsKwargs, SamplingKwargs, GenerateKwargs, ChatKwargs
    ),
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
