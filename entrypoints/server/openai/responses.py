"""`POST /v1/responses`."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from http import HTTPStatus
from typing import Any

import attrs
from starlette.requests import Request
from starlette.responses import Response

from litgpt.application.answer_builder import TextRequest
from litgpt.application.openai.responses.body import ResponseHeader
from litgpt.application.openai.responses.events import ResponseEvents
from litgpt.application.openai.responses.request import read_response
from litgpt.application.serving.answer_stream import AnswerStream
from litgpt.domain.generation.request import Completion, CompletionChunk
from litgpt.server.context import context_of
from litgpt.server.http.error_boundary import ERROR_LOG
from litgpt.server.http.json_body import read_json
from litgpt.server.http.request_record import RequestRecord, record_of
from litgpt.server.json_response import JSONResponse
from litgpt.server.openai.errors import error_reply
from litgpt.server.sse import EventStream, encode_event, until_disconnect


async def responses(request: Request) -> Response:
    """Answer a conversation."""
    asked = read_response(await read_json(request))
    call, context, record = asked.call, context_of(request), record_of(request.scope)

    def prepare() -> list[TextRequest]:
        return context.service.prepare(call.prompts, call.options, model=call.model)

    (prepared,) = await until_disconnect(request, asyncio.to_thread(prepare))
    record.model, record.prompt_tokens = call.model or context.model.name, len(prepared.request.prompt)
    params = prepared.request.sampling_params
    header = ResponseHeader(
        model=record.model, described=asked.described, temperature=params.temperature, top_p=params.top_p
    )
    events = ResponseEvents(header, context.model.loaded().tokenizer)
    answer = _Answer(context.service.start([prepared]), events, record)
    if call.stream:
        return EventStream(answer.events())
    return JSONResponse(await until_disconnect(request, answer.body()))


@attrs.frozen(eq=False)
class _Answer:
    """The answer to one request, as one body or as events."""

    stream: AnswerStream
    writer: ResponseEvents
    record: RequestRecord

    async def body(self) -> Any:
        async for chunks in self.stream.chunks():
            self._count(chunks)
            for _ in self.writer.add(chunks):
                pass
        *_, last = self.writer.end(self._completion(), timings=self._timings())
        return last["response"]

    async def events(self) -> AsyncGenerator[bytes, None]:
        for event in self.writer.begin():
            yield _encode(event)
        async_chunks = self.stream.chunks()
        try:
            async for chunks in async_chunks:
                self._count(chunks)
                for event in self.writer.add(chunks):
                    yield _encode(event)
            for event in self.writer.end(self._completion(), timings=self._timings()):
                yield _encode(event)
        except Exception as error:  # noqa: BLE001 - an event of this API, not of the others
            reply = error_reply(error)
            if reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                ERROR_LOG.error("%s: the response failed", self.record.id, exc_info=error)
            message = reply.body["error"]["message"]
            yield _encode(self.writer.fail({"code": "server_error", "message": message}))
        finally:
            await async_chunks.aclose()

    def _completion(self) -> Completion:
        (completion,) = self.stream.completions
        assert completion is not None  # noqa: S101 - all chunks are read
        return completion

    def _count(self, chunks: Sequence[CompletionChunk]) -> None:
        self.record.add_tokens(sum(chunk.token is not None for chunk in chunks))

    def _timings(self) -> dict[str, Any]:
        times, completion = self.stream.timings, self._completion()
        self.record.queue_seconds, self.record.cached_tokens = times.queue, completion.cached_tokens
        return {
            "queue_ms": round(1000 * times.queue, 3),
            "prefill_ms": round(1000 * times.prefill, 3),
            "decode_ms": round(1000 * times.decode, 3),
            "prompt_tokens": completion.prompt_tokens,
            "cached_tokens": completion.cached_tokens,
            "completion_tokens": completion.completion_tokens,
        }


def _encode(event: dict[str, Any]) -> bytes:
    return encode_event(event, event["type"])
