"""Generate text: stream tokens from a generator and decode them."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Generator as PyGenerator
from functools import partial

import attrs

from litgpt.application.answer_builder import AnswerBuilder, TextRequest
from litgpt.application.scoring.prompt_logprobs import PromptLogprobs, prompt_logprobs
from litgpt.application.structured_output import CompileConstraint, OutputFormat
from litgpt.domain.generation.request import (
    Completion,
    CompletionChunk,
    FinishReason,
    GenerationRequest,
    TokenEvent,
)
from litgpt.domain.generation.stop_strings import NO_STOP_STRINGS, StopStrings
from litgpt.domain.ports import ConstraintCompiler, Generation, Generator, Tokenizer
from litgpt.domain.tool_calls.answer_syntax import AnswerSyntax


@attrs.frozen
class GenerateText:
    """Generates text from prompts of token ids."""

    tokenizer: Tokenizer
    generator: Generator
    compiler: ConstraintCompiler | None = None
    _constrain: CompileConstraint | None = attrs.field(init=False, repr=False, eq=False)

    @_constrain.default
    def _new_constrain(self) -> CompileConstraint | None:
        return None if self.compiler is None else CompileConstraint(self.compiler, self.tokenizer)

    def stream(
        self,
        requests: Sequence[GenerationRequest],
        *,
        stop_strings: StopStrings = NO_STOP_STRINGS,
        syntaxes: Sequence[AnswerSyntax | None] | None = None,
        output: OutputFormat | None = None,
    ) -> "CompletionStream":
        """Return an iterator with a chunk for each token; the last chunk of an answer has its completion.

        The requests are checked by the call; computation starts with the first chunk. To stop early, close or
        drop the iterator. `syntaxes` has, for each request, how its answer is split into text, reasoning and
        tool calls; None leaves it as it is. `output` is the form of the answers.
        """
        syntaxes = syntaxes or [None] * len(requests)
        requests = self.constrain(requests, syntaxes, output)
        generation = self.generator.generate(requests)
        answers = _Answers()
        for request, syntax in zip(requests, syntaxes, strict=True):
            answers.add(
                AnswerBuilder.begin(TextRequest(request, stop_strings, syntax, output), self.tokenizer)
            )
        return CompletionStream(generation, answers, partial(prompt_logprobs, self.generator, requests))

    def stream_from(self, requests: Iterable[TextRequest | None]) -> "CompletionStream":
        """Return such an iterator for requests that are taken as earlier ones finish; None: none is ready.

        The index of a chunk is the number of requests that were taken before its request. An invalid prompt
        ends the iterator with an error, after the answers to earlier requests.
        """
        answers = _Answers()

        def taken() -> Iterator[GenerationRequest | None]:
            for it in requests:
                if it is not None:
                    answers.add(AnswerBuilder.begin(it, self.tokenizer))
                yield None if it is None else it.request

        return CompletionStream(self.generator.generate(taken()), answers)

    def complete(
        self,
        requests: Sequence[GenerationRequest],
        *,
        stop_strings: StopStrings = NO_STOP_STRINGS,
        syntaxes: Sequence[AnswerSyntax | None] | None = None,
        output: OutputFormat | None = None,
    ) -> list[Completion]:
        """Return the complete answers, in the order of the requests."""
        chunks = self.stream(requests, stop_strings=stop_strings, syntaxes=syntaxes, output=output)
        completions = {chunk.index: chunk.completion for chunk in chunks if chunk.completion is not None}
        return [completions[index] for index in range(len(requests))]

    def completion(self, it: TextRequest, tokens: Sequence[int]) -> Completion:
        """Return the completion of an answer whose tokens are known; a stop string ends it earlier."""
        answer = AnswerBuilder.begin(it, self.tokenizer)
        reason: FinishReason = "stop" if tokens[-1] in it.request.stop_token_ids else "length"
        for at, token in enumerate(tokens, 1):
            answer.add(TokenEvent(0, token, finish_reason=reason if at == len(tokens) else None))
            if answer.has_stop_string:
                reason = "stop"
                break
        answer.finish()
        return answer.completion(reason)

    def constrain(
        self,
        requests: Sequence[GenerationRequest],
        syntaxes: Sequence[AnswerSyntax | None],
        output: OutputFormat | None,
    ) -> Sequence[GenerationRequest]:
        """Return requests whose answers have the form `output`, or call tools as their syntaxes say."""
        constrain = self._constrain
        if constrain is None:
            return requests
        spec, pairs = None if output is None else output.spec, zip(requests, syntaxes, strict=True)
        return [constrain(request, syntax, spec) for request, syntax in pairs]


@attrs.define
class _Answers:
    """The unfinished answers of a stream, by their index, and the ones that have no tokens."""

    running: dict[int, AnswerBuilder] = attrs.field(factory=dict)
    empty: deque[tuple[int, AnswerBuilder]] = attrs.field(factory=deque)
    num_added: int = 0

    def add(self, answer: AnswerBuilder) -> None:
        if answer.request.max_new_tokens == 0:
            self.empty.append((self.num_added, answer))
        else:
            self.running[self.num_added] = answer
        self.num_added += 1

    def set_prompt_logprobs(self, logprobs: Sequence[PromptLogprobs | None]) -> None:
        """Set those of the first answers."""
        for index, answer in (*self.running.items(), *self.empty):
            if index < len(logprobs):
                answer.prompt_logprobs = logprobs[index]

    def finish_empty(self) -> Iterator[CompletionChunk]:
        while self.empty:
            index, answer = self.empty.popleft()
            yield CompletionChunk(index, "", completion=answer.completion("length"))


class CompletionStream(Iterator[CompletionChunk]):
    """The chunks of answers. Closing or dropping it ends the generation.

    `prompt_logprobs` computes those of the first requests, before the first chunk.
    """

    def __init__(
        self,
        generation: Generation,
        answers: _Answers,
        prompt_logprobs: Callable[[], Sequence[PromptLogprobs | None]] = list,
    ) -> None:
        self._generation, self._answers = generation, answers
        self._chunks = _completion_chunks(generation, answers, prompt_logprobs)

    def __next__(self) -> CompletionChunk:
        return next(self._chunks)

    def cancel(self) -> None:
        """End all answers; unlike `close`, another thread may call it while this one waits for a chunk."""
        for index in list(self._answers.running):
            self._generation.cancel(index)

    def close(self) -> None:
        self._chunks.close()
        self._generation.close()


def _completion_chunks(
    generation: Generation,
    answers: _Answers,
    prompt_logprobs: Callable[[], Sequence[PromptLogprobs | None]],
) -> PyGenerator[CompletionChunk]:
    try:
        answers.set_prompt_logprobs(prompt_logprobs())
        yield from answers.finish_empty()
        for event in generation:
            yield from answers.finish_empty()
            answer = answers.running[event.index]
            chunk = answer.push(event)
            if chunk.completion is not None:
                del answers.running[event.index]
                if event.finish_reason is None:  # a stop string
                    generation.cancel(event.index)
            yield chunk
        yield from answers.finish_empty()
    finally:
        generation.close()
