"""Build the answer to a request from its tokens: text, reasoning, tool calls, log-probabilities."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import attrs

from litgpt.application.structured_output import OutputFormat
from litgpt.domain.generation.request import (
    Completion,
    CompletionChunk,
    FinishReason,
    GenerationRequest,
    TokenEvent,
)
from litgpt.domain.generation.stop_strings import NO_STOP_STRINGS, StopStringMatcher, StopStrings
from litgpt.domain.ports import TextDecoder, Tokenizer
from litgpt.domain.tool_calls.answer_syntax import AnswerSyntax
from litgpt.domain.tool_calls.deltas import Delta, ParsedAnswer, TextDelta, join_text

if TYPE_CHECKING:
    from litgpt.application.scoring.prompt_logprobs import PromptLogprobs
    from litgpt.domain.tool_calls.parser import AnswerParser


@attrs.frozen
class TextRequest:
    """A request, and how its answer becomes text.

    Attributes:
        syntax: How the answer is split into text, reasoning and tool calls; None leaves it as it is.
        output: The form of the answer, which the constraint of the request ensures.
    """

    request: GenerationRequest
    stop_strings: StopStrings = NO_STOP_STRINGS
    syntax: AnswerSyntax | None = None
    output: OutputFormat | None = None


@attrs.define
class AnswerBuilder:
    """An answer whose tokens arrive one by one."""

    request: GenerationRequest
    decoder: TextDecoder
    stop_matcher: StopStringMatcher
    parser: "AnswerParser | None" = None
    output: OutputFormat | None = None
    deltas: list[Delta] = attrs.field(factory=list)
    token_ids: list[int] = attrs.field(factory=list)
    logprobs: list[float] = attrs.field(factory=list)
    top_logprobs: list[Mapping[int, float]] = attrs.field(factory=list)
    cached_tokens: int = 0
    draft_tokens: int = 0
    prompt_logprobs: "PromptLogprobs | None" = None

    @classmethod
    def begin(cls, it: TextRequest, tokenizer: Tokenizer) -> "AnswerBuilder":
        matcher = StopStringMatcher(it.stop_strings)
        if it.syntax is None:
            return cls(it.request, tokenizer.decoder(), matcher, output=it.output)
        decoder = tokenizer.decoder(visible=it.syntax.format.special_tokens)
        return cls(it.request, decoder, matcher, it.syntax.parser(), it.output)

    @property
    def has_stop_string(self) -> bool:
        """Whether a stop string has ended the answer, which gets no further tokens."""
        return self.stop_matcher.stopped

    def push(self, event: TokenEvent) -> CompletionChunk:
        """Add a token and return its chunk, with the completion if the answer ends."""
        deltas = self.add(event)
        reason = "stop" if self.has_stop_string else event.finish_reason
        completion = None
        if reason is not None:
            deltas = [*deltas, *self.finish()]
            completion = self.completion(reason)
        return CompletionChunk(
            event.index,
            join_text(deltas),
            event.token,
            event.logprob,
            completion,
            event.top_logprobs,
            tuple(deltas),
        )

    def add(self, event: TokenEvent) -> list[Delta]:
        """Add a token and return what cannot be part of a stop string."""
        self.token_ids.append(event.token)
        self.cached_tokens, self.draft_tokens = event.cached_tokens, event.draft_tokens
        if event.logprob is not None:
            self.logprobs.append(event.logprob)
        if event.top_logprobs is not None:
            self.top_logprobs.append(event.top_logprobs)
        if (
            event.finish_reason == "stop" and event.token in self.request.stop_token_ids
        ):  # the stop token is part of the ids, but not of the text
            return []
        text = self.decoder.push(event.token)
        too_early = len(self.token_ids) <= self.request.sampling_params.min_tokens
        return self._parse(text if too_early else self.stop_matcher.push(text))

    def finish(self) -> list[Delta]:
        """Return what was withheld, at the end of the answer."""
        text = self.stop_matcher.push(self.decoder.finish()) + self.stop_matcher.flush()
        deltas = self._parse(text)
        if self.parser is not None:
            rest = self.parser.finish()
            self.deltas += rest
            deltas = [*deltas, *rest]
        return deltas

    def _parse(self, text: str) -> list[Delta]:
        deltas: list[Delta] = [TextDelta(text)] if text else []
        if self.parser is not None:
            deltas = self.parser.push(text)
        self.deltas += deltas
        return deltas

    def completion(self, reason: FinishReason) -> Completion:
        answer = ParsedAnswer.from_deltas(self.deltas)
        last = self.token_ids[-1] if self.token_ids else None
        is_stopped = reason == "stop" and last in self.request.stop_token_ids and not self.has_stop_string
        completion = Completion(
            text=answer.text,
            token_ids=tuple(self.token_ids),
            logprobs=tuple(self.logprobs) if self.request.logprobs else None,
            top_logprobs=tuple(self.top_logprobs) if self.request.top_logprobs else None,
            prompt_logprobs=self.prompt_logprobs,
            finish_reason="tool_calls" if answer.tool_calls and reason == "stop" else reason,
            stop_token=last if is_stopped else None,
            prompt_tokens=len(self.request.prompt),
            cached_tokens=self.cached_tokens,
            draft_tokens=self.draft_tokens,
            tool_calls=answer.tool_calls,
            reasoning=answer.reasoning,
        )
        return completion if self.output is None else self.output.with_parsed(completion)
