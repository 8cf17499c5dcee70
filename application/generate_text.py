"""Generate text: stream tokens from a generator and decode them."""

from collections.abc import Iterator, Mapping, Sequence

import attrs

from litgpt.application.structured_output import CompileConstraint, OutputFormat
from litgpt.domain.generation.request import (
    Completion,
    CompletionChunk,
    FinishReason,
    GenerationRequest,
    TokenEvent,
)
from litgpt.domain.generation.stop_strings import NO_STOP_STRINGS, StopStringMatcher, StopStrings
from litgpt.domain.ports import ConstraintCompiler, Generation, Generator, PrefixCache, TextDecoder, Tokenizer
from litgpt.domain.tool_calls.answer_syntax import AnswerSyntax
from litgpt.domain.tool_calls.deltas import Delta, ParsedAnswer, TextDelta, join_text
from litgpt.domain.tool_calls.parser import AnswerParser


@attrs.define
class _Answer:
    request: GenerationRequest
    decoder: TextDecoder
    stop_matcher: StopStringMatcher
    parser: AnswerParser | None = None
    output: OutputFormat | None = None
    deltas: list[Delta] = attrs.field(factory=list)
    token_ids: list[int] = attrs.field(factory=list)
    logprobs: list[float] = attrs.field(factory=list)
    top_logprobs: list[Mapping[int, float]] = attrs.field(factory=list)
    cached_tokens: int = 0

    def add(self, event: TokenEvent) -> list[Delta]:
        """Add a token and return what cannot be part of a stop string."""
        self.token_ids.append(event.token)
        self.cached_tokens = event.cached_tokens
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
        completion = Completion(
            text=answer.text,
            token_ids=tuple(self.token_ids),
            logprobs=tuple(self.logprobs) if self.request.logprobs else None,
            top_logprobs=tuple(self.top_logprobs) if self.request.top_logprobs else None,
            finish_reason="tool_calls" if answer.tool_calls and reason == "stop" else reason,
            prompt_tokens=len(self.request.prompt),
            cached_tokens=self.cached_tokens,
            tool_calls=answer.tool_calls,
            reasoning=answer.reasoning,
        )
        return completion if self.output is None else self.output.with_parsed(completion)


@attrs.frozen
class GenerateText:
    """Generates text from prompts of token ids."""

    tokenizer: Tokenizer
    generator: Generator
    compiler: ConstraintCompiler | None = None

    def stream(
        self,
        requests: Sequence[GenerationRequest],
        *,
        stop_strings: StopStrings = NO_STOP_STRINGS,
        prefix: PrefixCache | None = None,
        syntaxes: Sequence[AnswerSyntax | None] | None = None,
        output: OutputFormat | None = None,
    ) -> Iterator[CompletionChunk]:
        """Return an iterator with a chunk for each token; the last chunk of an answer has its completion.

        The requests are checked by the call; computation starts with the first chunk. To stop early, close or
        drop the iterator. `syntaxes` has, for each request, how its answer is split into text, reasoning and
        tool calls; None leaves it as it is. `output` is the form of the answers.
        """
        syntaxes = syntaxes or [None] * len(requests)
        requests = self.constrain(requests, syntaxes, output)
        generation = self.generator.generate(requests, prefix=prefix)
        answers = [
            self._answer(request, stop_strings, syntax, output)
            for request, syntax in zip(requests, syntaxes, strict=True)
        ]
        return self._completion_chunks(generation, answers)

    def complete(
        self,
        requests: Sequence[GenerationRequest],
        *,
        stop_strings: StopStrings = NO_STOP_STRINGS,
        prefix: PrefixCache | None = None,
        syntaxes: Sequence[AnswerSyntax | None] | None = None,
        output: OutputFormat | None = None,
    ) -> list[Completion]:
        """Return the complete answers, in the order of the requests."""
        chunks = self.stream(
            requests, stop_strings=stop_strings, prefix=prefix, syntaxes=syntaxes, output=output
        )
        completions = {chunk.index: chunk.completion for chunk in chunks if chunk.completion is not None}
        return [completions[index] for index in range(len(requests))]

    def constrain(
        self,
        requests: Sequence[GenerationRequest],
        syntaxes: Sequence[AnswerSyntax | None],
        output: OutputFormat | None,
    ) -> Sequence[GenerationRequest]:
        """Return requests whose answers have the form `output`."""
        if output is None or self.compiler is None:
            return requests
        return [*map(CompileConstraint(self.compiler, output.spec, self.tokenizer), requests, syntaxes)]

    def _answer(
        self,
        request: GenerationRequest,
        stop_strings: StopStrings,
        syntax: AnswerSyntax | None,
        output: OutputFormat | None,
    ) -> _Answer:
        matcher = StopStringMatcher(stop_strings)
        if syntax is None:
            return _Answer(request, self.tokenizer.decoder(), matcher, output=output)
        decoder = self.tokenizer.decoder(visible=syntax.format.special_tokens)
        return _Answer(request, decoder, matcher, syntax.parser(), output)

    def _completion_chunks(self, generation: Generation, answers: list[_Answer]) -> Iterator[CompletionChunk]:
        try:
            for index, answer in enumerate(answers):
                if answer.request.max_new_tokens == 0:
                    yield CompletionChunk(index, "", completion=answer.completion("length"))
            for event in generation:
                answer = answers[event.index]
                deltas = answer.add(event)
                reason = event.finish_reason
                if answer.stop_matcher.stopped:
                    reason = "stop"
                    generation.cancel(event.index)
                if reason is not None:
                    deltas = [*deltas, *answer.finish()]
                completion = answer.completion(reason) if reason is not None else None
                yield CompletionChunk(
                    event.index,
                    join_text(deltas),
                    event.token,
                    event.logprob,
                    completion,
                    event.top_logprobs,
                    tuple(deltas),
                )
        finally:
            generation.close()
