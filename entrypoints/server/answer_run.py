"""The answers to a request while they are computed: their tokens and times are recorded."""

from collections.abc import AsyncGenerator, Sequence
from typing import Any

import attrs

from litgpt.application.openai.answers import usage
from litgpt.application.serving.answer_stream import AnswerStream
from litgpt.domain.generation.request import Completion, CompletionChunk
from litgpt.server.http.request_record import RequestRecord


@attrs.frozen(eq=False)
class AnswerRun:
    """The answers to one request. Whoever starts them calls `close`, also if no chunk was read.

    Attributes:
        stream: The answers.
        record: What is known of the request, for the log and the metrics.
        n: The number of answers to each prompt.
    """

    stream: AnswerStream
    record: RequestRecord
    n: int = 1

    async def chunks(self) -> AsyncGenerator[list[CompletionChunk], None]:
        """Yield the chunks as they arrive.

        Raises:
            Exception: The engine has failed to compute an answer.
        """
        chunks = self.stream.chunks()
        try:
            async for arrived in chunks:
                self.record.add_tokens(sum(chunk.token is not None for chunk in arrived))
                yield arrived
        finally:
            await chunks.aclose()

    def close(self) -> None:
        """End the answers that are not complete, and record the times; may be repeated."""
        # Not left to `chunks`: a generator that has not begun is closed without running its `finally`.
        self.stream.cancel()
        self.record.queue_seconds = self.stream.timings.queue
        self.record.cached_tokens = sum(self.stream.cached_tokens[:: self.n])

    def completions(self) -> Sequence[Completion]:
        """Return the answers that are complete."""
        return [it for it in self.stream.completions if it is not None]

    def timings(self) -> dict[str, Any]:
        """Return the `timings` of a body: milliseconds, and numbers of tokens."""
        times, counts = self.stream.timings, usage(self.completions(), self.n)
        return {
            "queue_ms": round(1000 * times.queue, 3),
            "prefill_ms": round(1000 * times.prefill, 3),
            "decode_ms": round(1000 * times.decode, 3),
            "prompt_tokens": counts["prompt_tokens"],
            "cached_tokens": counts["prompt_tokens_details"]["cached_tokens"],
            "completion_tokens": counts["completion_tokens"],
        }
