"""Generate text: stream tokens from a generator and decode them."""

from collections.abc import Iterator, Mapping, Sequence

import attrs

from litgpt.domain.generation.request import (
    Completion,
    CompletionChunk,
    FinishReason,
    GenerationRequest,
    TokenEvent,
)
from litgpt.domain.generation.stop_strings import NO_STOP_STRINGS, StopStringMatcher, StopStrings
from litgpt.domain.ports import Generation, Generator, PrefixCache, TextDecoder, Tokenizer


@attrs.define
class _Answer:
    request: GenerationRequest
    decoder: TextDecoder
    stop_matcher: StopStringMatcher
    chunks: list[str] = attrs.field(factory=list)
    token_ids: list[int] = attrs.field(factory=list)
    logprobs: list[float] = attrs.field(factory=list)
    top_logprobs: list[Mapping[int, float]] = attrs.field(factory=list)

    def add(self, event: TokenEvent) -> str:
        """Add a token and return the text that cannot be part of a stop string."""
        self.token_ids.append(event.token)
        if event.logprob is not None:
            self.logprobs.append(event.logprob)
        if event.top_logprobs is not None:
            self.top_logprobs.append(event.top_logprobs)
        if event.finish_reason == "stop":  # the stop token is part of the ids, but not of the text
            return ""
        text = self.decoder.push(event.token)
        too_early = len(self.token_ids) <= self.request.sampling_params.min_tokens
        return self._append(text if too_early else self.stop_matcher.push(text))

    def finish(self) -> str:
        """Return the withheld text at the end of the answer."""
        return self._append(self.stop_matcher.push(self.decoder.finish()) + self.stop_matcher.flush())

    def _append(self, text: str) -> str:
        self.chunks.append(text)
        return text

    def completion(self, reason: FinishReason) -> Completion:
        return Completion(
            text="".join(self.chunks),
            token_ids=tuple(self.token_ids),
            logprobs=tuple(self.logprobs) if self.request.logprobs else None,
            top_logprobs=tuple(self.top_logprobs) if self.request.top_logprobs else None,
            finish_reason=reason,
            prompt_tokens=len(self.request.prompt),
        )


@attrs.frozen
class GenerateText:
    """Generates text from prompts of token ids."""

    tokenizer: Tokenizer
    generator: Generator

    def stream(
        self,
        requests: Sequence[GenerationRequest],
        *,
        stop_strings: StopStrings = NO_STOP_STRINGS,
        prefix: PrefixCache | None = None,
    ) -> Iterator[CompletionChunk]:
        """Return an iterator with a chunk for each token; the last chunk of an answer has its completion.

        The requests are checked by the call; computation starts with the first chunk. To stop early, close or
        drop the iterator.
        """
        generation = self.generator.generate(requests, prefix=prefix)
        answers = [
            _Answer(request, self.tokenizer.decoder(), StopStringMatcher(stop_strings))
            for request in requests
        ]
        return self._completion_chunks(generation, answers)

    def complete(
        self,
        requests: Sequence[GenerationRequest],
        *,
        stop_strings: StopStrings = NO_STOP_STRINGS,
        prefix: PrefixCache | None = None,
    ) -> list[Completion]:
        """Return the complete answers, in the order of the requests."""
        completions = {
            event.index: event.completion
            for event in self.stream(requests, stop_strings=stop_strings, prefix=prefix)
            if event.completion is not None
        }
        return [completions[index] for index in range(len(requests))]

    def _completion_chunks(self, generation: Generation, answers: list[_Answer]) -> Iterator[CompletionChunk]:
        try:
            for index, answer in enumerate(answers):
                if answer.request.max_new_tokens == 0:
                    yield CompletionChunk(index, "", completion=answer.completion("length"))
            for event in generation:
                answer = answers[event.index]
                piece = answer.add(event)
                reason = event.finish_reason
                if answer.stop_matcher.stopped:
                    reason = "stop"
                    generation.cancel(event.index)
                elif reason is not None:
                    piece += answer.finish()
                completion = answer.completion(reason) if reason is not None else None
                yield CompletionChunk(
                    event.index, piece, event.token, event.logprob, completion, event.top_logprobs
                )
        finally:
            generation.close()
