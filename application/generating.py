"""Continue texts: encode them, generate tokens, decode them as they come."""

from collections.abc import Iterator, Sequence

import attrs

from litgpt.domain.generation import Completion, FinishReason, Request, TextEvent
from litgpt.domain.ports import Generation, Generator, PrefixCache, TextDecoder, Tokenizer
from litgpt.domain.stopping import StopStrings


@attrs.define
class _Answer:
    """One answer as it grows."""

    request: Request
    decoder: TextDecoder
    stops: StopStrings
    pieces: list[str] = attrs.field(factory=list)
    ids: list[int] = attrs.field(factory=list)
    logprobs: list[float] = attrs.field(factory=list)

    def add(self, token: int, logprob: float | None, *, shown: bool) -> str:
        """Take one more token and return the text that can be shown for certain."""
        self.ids.append(token)
        if logprob is not None:
            self.logprobs.append(logprob)
        return self._show(self.stops.push(self.decoder.push(token))) if shown else ""

    def finish(self) -> str:
        """Return the text that was held back, when nothing more will come."""
        return self._show(self.stops.push(self.decoder.finish()) + self.stops.finish())

    def _show(self, piece: str) -> str:
        self.pieces.append(piece)
        return piece

    def completion(self, reason: FinishReason) -> Completion:
        return Completion(
            text="".join(self.pieces),
            token_ids=tuple(self.ids),
            logprobs=tuple(self.logprobs) if self.request.logprobs else None,
            finish_reason=reason,
            prompt_tokens=len(self.request.prompt),
        )


@attrs.frozen
class GenerateText:
    """Continues prompts in text.

    Attributes:
        tokenizer: The model's tokenizer.
        generator: The model.

    """

    tokenizer: Tokenizer
    generator: Generator

    def stream(
        self, requests: Sequence[Request], *, stop: tuple[str, ...] = (), prefix: PrefixCache | None = None
    ) -> Iterator[TextEvent]:
        """Continue prompts and return an event for each token as it comes, the last with its completion.

        The requests are checked at once; nothing is computed before the first event is asked for. To stop
        early, close the iterator or drop it.

        Args:
            requests: The prompts, in ids, and what is wanted of each.
            stop: Strings that end an answer; they are not part of it.
            prefix: What was computed before; see the Generator port.

        Raises:
            PromptTooLong: A prompt leaves no room for an answer.

        """
        generation = self.generator.generate(requests, prefix=prefix)
        answers = [_Answer(one, self.tokenizer.decoder(), StopStrings(stop)) for one in requests]
        return self._text_events(generation, answers)

    def complete(
        self, requests: Sequence[Request], *, stop: tuple[str, ...] = (), prefix: PrefixCache | None = None
    ) -> list[Completion]:
        """Continue prompts and return the whole answers, in the order of the requests."""
        done = {
            event.index: event.completion
            for event in self.stream(requests, stop=stop, prefix=prefix)
            if event.completion is not None
        }
        return [done[index] for index in range(len(requests))]

    def _text_events(self, generation: Generation, answers: list[_Answer]) -> Iterator[TextEvent]:
        try:
            for index, answer in enumerate(answers):
                if answer.request.max_new_tokens == 0:
                    yield TextEvent(index, "", completion=answer.completion("length"))
            for event in generation:
                answer = answers[event.index]
                # The end token is part of the ids and never of the text.
                piece = answer.add(event.token, event.logprob, shown=event.finish_reason != "stop")
                reason = event.finish_reason
                if answer.stops.stopped:
                    reason = "stop"
                    generation.cancel(event.index)
                elif reason is not None:
                    piece += answer.finish()
                completion = answer.completion(reason) if reason is not None else None
                yield TextEvent(event.index, piece, event.token, event.logprob, completion)
        finally:
            generation.close()
