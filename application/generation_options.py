"""The generation options of a call, as users write them."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import attrs

from litgpt.application.load_model import LoadedModel, TensorT
from litgpt.application.structured_output import OutputFormat, output_format
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.generation.sampling_params import MODEL_DEFAULT, ModelDefault, SamplingParams
from litgpt.domain.generation.stop_strings import StopStrings, parse_stop_strings
from litgpt.domain.generation.token_arguments import (
    LogitsProcessor,
    parse_token_ids,
    parse_token_sequences,
    split_strings,
)
from litgpt.domain.ports import Tokenizer
from litgpt.domain.validators import integer, integer_field, is_flag, is_flag_or_none

DRY_SEQUENCE_BREAKERS = ("\n", ":", '"', "*")
"""The defaults of DRY's authors."""


@attrs.frozen(kw_only=True)
class GenerationOptions:
    """Generation options of a call, validated before any work is done.

    The attributes that are not described here are those of `SamplingParams`; MODEL_DEFAULT is the model's
    setting.

    Attributes:
        max_new_tokens: The maximum length of each answer; None: up to the context length.
        bad_words: Strings and lists of token ids.
        stop: A string, or several, that end an answer.
        include_stop: Whether such a string is part of the answer's text.
        stop_token_ids: Tokens that end an answer, besides those of the model.
        ignore_eos: Whether the model's stop tokens and stop strings do not end an answer.
        dry_sequence_breakers: Strings, of which the last token counts, and token ids.
        top_logprobs: The number of likeliest tokens for which the log-probabilities are returned.
        prompt_logprobs: See `GenerationRequest`.
        reasoning_budget: The largest number of tokens of the reasoning before an answer; None: any.
        cache_prompt: See `GenerationRequest`, also for the next one.
        adapter: See `GenerationRequest`.
        schema: A JSON schema, or a class, that the answer matches.
        regex: A regular expression that the whole answer matches.
        grammar: A grammar in Lark's syntax that the answer matches.
        choices: The strings of which the answer is one.
        output: The form of the answer that one of these four states.
        parse_special_tokens: Whether special tokens in a prompt become control tokens. None: only in a text
            that is the whole prompt, not in messages of a chat template or prompt style.
    """

    max_new_tokens: int | None = 50
    temperature: float | ModelDefault = MODEL_DEFAULT
    top_k: int | ModelDefault | None = MODEL_DEFAULT
    top_p: float | ModelDefault = MODEL_DEFAULT
    min_p: float | ModelDefault = MODEL_DEFAULT
    typical_p: float | ModelDefault = MODEL_DEFAULT
    seed: int | None = None
    repetition_penalty: float | ModelDefault = MODEL_DEFAULT
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] | None = None
    allowed_token_ids: Sequence[int] | None = None
    bad_words: str | Sequence[str | Sequence[int]] | None = None
    min_tokens: int = 0
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_sequence_breakers: str | Sequence[str | int] | None = DRY_SEQUENCE_BREAKERS
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    logits_processor: LogitsProcessor | Sequence[LogitsProcessor] | None = None
    stop: str | Sequence[str] | None = None
    include_stop: bool = attrs.field(default=False, validator=is_flag)
    stop_token_ids: Sequence[int] | None = None
    ignore_eos: bool = attrs.field(default=False, validator=is_flag)
    logprobs: bool = attrs.field(default=False, validator=is_flag)
    top_logprobs: int = 0
    prompt_logprobs: int | None = None
    reasoning_budget: int | None = integer_field(None, 0)
    cache_prompt: bool = attrs.field(default=True, validator=is_flag)
    prompt_lookup_num_tokens: int | None = None
    parse_special_tokens: bool | None = attrs.field(default=None, validator=is_flag_or_none)
    adapter: str | None = None
    schema: Any = None
    regex: str | None = None
    grammar: str | None = None
    choices: Sequence[str] | None = None
    stop_strings: tuple[str, ...] = attrs.field(init=False)
    output: OutputFormat | None = attrs.field(init=False)

    @stop_strings.default
    def _stop_strings(self) -> tuple[str, ...]:
        return parse_stop_strings(self.stop)

    @output.default
    def _output(self) -> OutputFormat | None:
        return output_format(self.schema, self.regex, self.grammar, self.choices)

    def __attrs_post_init__(self) -> None:
        params = self.sampling_params(SamplingParams())
        parse_token_ids("stop_token_ids", self.stop_token_ids)
        integer("top_logprobs", self.top_logprobs, 0)
        GenerationRequest(
            prompt=[0],
            adapter=self.adapter,
            prompt_logprobs=self.prompt_logprobs,
            prompt_lookup_num_tokens=self.prompt_lookup_num_tokens,
        )
        if self.max_new_tokens is not None:
            GenerationRequest(prompt=[0], max_new_tokens=self.max_new_tokens)
            if params.min_tokens > self.max_new_tokens:
                raise InvalidArgument(
                    "min_tokens", self.min_tokens, f"at most max_new_tokens ({self.max_new_tokens})"
                )

    def sampling_params(self, defaults: SamplingParams, tokenizer: Tokenizer | None = None) -> SamplingParams:
        """Return the sampling parameters, with the model's `defaults` for MODEL_DEFAULT.

        Without a tokenizer, strings are only checked.
        """
        own: dict[str, Any] = {
            field.name: value
            for field in attrs.fields(SamplingParams)
            if (value := getattr(self, field.name, MODEL_DEFAULT)) is not MODEL_DEFAULT
        }
        words, sequences = split_strings("bad_words", self.bad_words)
        breakers, breaker_ids = split_strings("dry_sequence_breakers", self.dry_sequence_breakers)
        own["bad_words"] = parse_token_sequences("bad_words", sequences)
        own["dry_breakers"] = parse_token_ids("dry_sequence_breakers", breaker_ids)
        if tokenizer is not None:
            own["bad_words"] += tuple(ids for word in words for ids in _encodings(tokenizer, word))
            if self.dry_multiplier:
                # As text within a line, like DRY's authors: the token of a string alone may be another.
                own["dry_breakers"] += tuple(tokenizer.encode(f"a{text}", bos=False)[-1] for text in breakers)
        return attrs.evolve(defaults, **own)

    def request_factory(
        self, loaded: LoadedModel[TensorT], *, context_length: int
    ) -> Callable[[list[int]], GenerationRequest]:
        """Return the function that makes the request for a prompt of token ids.

        Raises:
            InvalidArgument: A token id is outside the vocabulary.
        """
        vocab_size = loaded.architecture.vocab_size
        params = self.sampling_params(loaded.sampling_params, loaded.tokenizer)
        params.check_vocabulary(vocab_size)
        stops = parse_token_ids("stop_token_ids", self.stop_token_ids)
        if stops and stops[-1] >= vocab_size:
            raise InvalidArgument(
                "stop_token_ids", stops[-1], f"made of token ids from 0 to {vocab_size - 1}"
            )
        request = partial(
            GenerationRequest,
            max_new_tokens=context_length if self.max_new_tokens is None else self.max_new_tokens,
            sampling_params=params,
            stop_token_ids=frozenset(stops) | (frozenset() if self.ignore_eos else loaded.stop_token_ids),
            logprobs=self.logprobs or self.top_logprobs > 0,
            top_logprobs=self.top_logprobs,
            prompt_logprobs=self.prompt_logprobs,
            cache_prompt=self.cache_prompt,
            prompt_lookup_num_tokens=self.prompt_lookup_num_tokens,
            adapter=self.adapter,
        )
        return lambda prompt_ids: request(prompt=prompt_ids)

    def all_stop_strings(self, loaded: LoadedModel[TensorT]) -> StopStrings:
        """Return the stop strings of the call and of the model's prompt style."""
        ends = () if self.ignore_eos else loaded.stop_strings
        return StopStrings((*self.stop_strings, *ends), self.stop_strings if self.include_stop else ())


def _encodings(tokenizer: Tokenizer, word: str) -> list[tuple[int, ...]]:
    """Return the token ids of a word at the beginning of a text, and after a space."""
    stripped = word.lstrip()
    texts = dict.fromkeys((word, f" {stripped}") if stripped else (word,))
    return [tuple(tokenizer.encode(text, bos=False)) for text in texts]
