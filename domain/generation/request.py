"""Requests and events of a Generator, in token ids, and completions in text."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import attrs

from litgpt.domain.constraints.token_constraint import TokenConstraint
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.generation.sampling_params import SamplingParams
from litgpt.domain.tool_calls.deltas import Delta, ToolCall
from litgpt.domain.validators import integer_field, is_name_or_none

FinishReason: TypeAlias = Literal["stop", "length", "cancelled"]
"""Why an answer ended: a stop token or stop string, its maximum length, or cancellation by the caller."""


@attrs.frozen(kw_only=True)
class GenerationRequest:
    """One prompt and the options of its answer.

    Attributes:
        prompt: Token ids, at least one.
        max_new_tokens: The maximum length of the answer, which also ends at the context length.
        sampling_params: The sampling parameters.
        stop_token_ids: Tokens that end the answer; the stop token is included in the answer's ids.
        logprobs: Whether each event has the log-probability of its token.
        top_logprobs: The number of likeliest tokens whose log-probabilities each event has.
        priority: Requests with lower values are computed first.
        cache_prompt: Whether the KV cache may be shared with other requests.
        prompt_lookup_num_tokens: The largest number of tokens of a draft; None: as many as pay.
        prompt_logprobs: The number of likeliest tokens whose log-probabilities the completion has for each
            token of the prompt, besides the token's own; None: it has none. `GenerateText` computes them.
        constraint: What the answer must match; each answer uses a copy.
        adapter: The LoRA adapter that computes the request, instead of the active one; None: the model as it
            is, with its active adapter if there is one.
    """

    prompt: Sequence[int] = attrs.field(repr=False)
    max_new_tokens: int = integer_field(50, 0)
    sampling_params: SamplingParams = attrs.field(factory=SamplingParams)
    stop_token_ids: frozenset[int] = frozenset()
    logprobs: bool = False
    top_logprobs: int = integer_field(0, 0)
    priority: int = 0
    cache_prompt: bool = True
    prompt_lookup_num_tokens: int | None = integer_field(None, 0)
    prompt_logprobs: int | None = integer_field(None, 0)
    constraint: TokenConstraint | None = attrs.field(default=None, repr=False)
    adapter: str | None = attrs.field(default=None, validator=is_name_or_none)

    __repr__ = brief_repr

    def __attrs_post_init__(self) -> None:
        if not self.prompt:
            raise InvalidArgument("prompt", self.prompt, "at least one token long")


@attrs.frozen
class TokenEvent:
    """One token of one answer.

    Attributes:
        index: The index of the request.
        token: The token's id.
        logprob: The natural logarithm of its probability under the model (before all sampling parameters),
            if requested.
        finish_reason: Why the answer ends with this token; None otherwise.
        top_logprobs: The likeliest tokens in descending order, with such logarithms, if requested.
        cached_tokens: The number of tokens of the prompt whose KV cache was reused.
        draft_tokens: The number of tokens of the answer so far that were accepted from drafts.
    """

    index: int
    token: int
    logprob: float | None = None
    finish_reason: FinishReason | None = None
    top_logprobs: Mapping[int, float] | None = None
    cached_tokens: int = attrs.field(default=0, eq=False)
    draft_tokens: int = attrs.field(default=0, eq=False)


@attrs.frozen(kw_only=True)
class Completion:
    """A complete answer and its metadata.

    Attributes:
        text: The answer, without the prompt, stop token and stop string. Tool calls and reasoning are not
            part of it if they were parsed: calls if tools were passed, reasoning if the chat template has it.
        token_ids: Its tokens, including the stop token.
        logprobs: The log-probability of each token under the model, before all sampling parameters, if
            requested.
        top_logprobs: For each token, the likeliest tokens at its place in descending order, with their
            log-probabilities, if requested.
        prompt_logprobs: For each token of the prompt, if requested, log-probabilities by token: of the token
            itself, then of the likeliest ones at its place in descending order. None for the first token.
        finish_reason: `stop`, `length` or `cancelled`; `tool_calls` for an answer that stops with tool calls,
            as in OpenAI's API.
        stop_token: The stop token that ended the answer; None if something else did.
        prompt_tokens: The number of tokens of the prompt.
        cached_tokens: The number of these whose KV cache was reused.
        draft_tokens: The number of tokens of the answer that were accepted from drafts (`docs/engine.md`).
        tool_calls: The tools that the model calls. A call that cannot be parsed is part of `text`.
        reasoning: The reasoning before the answer, if the model has written any.
        parsed: The text as the type of `schema`; None if it was cut off or cannot be read.
        score: With beam search, the sum of the tokens' log-probabilities, divided by their number to the
            power of `length_penalty`.
    """

    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...] | None = None
    top_logprobs: tuple[Mapping[int, float], ...] | None = None
    prompt_logprobs: tuple[Mapping[int, float] | None, ...] | None = None
    finish_reason: FinishReason | Literal["tool_calls"]
    stop_token: int | None = attrs.field(default=None, eq=False, repr=False)
    prompt_tokens: int
    cached_tokens: int = attrs.field(default=0, eq=False)
    draft_tokens: int = attrs.field(default=0, eq=False)
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: str | None = None
    parsed: Any = None
    score: float | None = None

    __repr__ = brief_repr

    @property
    def completion_tokens(self) -> int:
        return len(self.token_ids)


@attrs.frozen
class CompletionChunk:
    """One generated token of one answer, and the text that it completes.

    Attributes:
        index: The index of the prompt.
        text: Whole characters, without any part of a stop string; often empty. The chunks join to the text
            of the completion.
        token: The token's id; None only if the answer has no tokens.
        logprob: Its log-probability, if requested.
        completion: The complete answer, in its last chunk; None before.
        top_logprobs: The likeliest tokens at this place with their log-probabilities, if requested.
        deltas: The increments of the answer: `text`, reasoning, and the names and arguments of tool calls.
    """

    index: int
    text: str
    token: int | None = None
    logprob: float | None = None
    completion: Completion | None = None
    top_logprobs: Mapping[int, float] | None = None
    deltas: tuple[Delta, ...] = ()

    __repr__ = brief_repr
