"""`POST /v1/chat/completions` and `POST /v1/completions`."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from itertools import groupby
from typing import Any

import attrs
from starlette.requests import Request
from starlette.responses import Response

from litgpt.application.answer_builder import TextRequest
from litgpt.application.openai.answers import AnswerHeader, PromptEcho, chat_body, text_body, usage
from litgpt.application.openai.chunks import ChatChunks, TextChunks
from litgpt.application.openai.echo import prompt_echoes
from litgpt.application.openai.requests import CompletionCall, read_chat, read_completion
from litgpt.application.serving.answer_stream import AnswerStream
from litgpt.domain.generation.request import Completion, CompletionChunk
from litgpt.server.context import ServerContext, context_of
from litgpt.server.http.json_body import read_json
from litgpt.server.http.request_record import RequestRecord, record_of
from litgpt.server.json_response import JSONResponse
from litgpt.server.sse import EventStream, encode_event, until_disconnect

_DONE = b"data: [DONE]\n\n"


async def chat_completions(request: Request) -> Response:
    """Answer a conversation."""
    return await _answer(request, read_chat(await read_json(request)), is_chat=True)


async def completions(request: Request) -> Response:
    """Continue one or several texts."""
    return await _answer(request, read_completion(await read_json(request)), is_chat=False)


async def _answer(request: Request, call: CompletionCall, *, is_chat: bool) -> Response:
    context, record = context_of(request), record_of(request.scope)
    header = AnswerHeader(call.model or context.model.name, is_chat)
    record.model = header.model
    requests, echoes = await until_disconnect(request, asyncio.to_thread(_prepare, context, call))
    record.prompt_tokens = sum(len(it.request.prompt) for it in requests[:: call.n])
    stream = context.service.start(requests)
    answer = _Answer(call, header, stream, echoes, context, record)
    if call.stream:
        return EventStream(answer.events())
    return JSONResponse(await until_disconnect(request, answer.body()))


def _prepare(context: ServerContext, call: CompletionCall) -> tuple[list[TextRequest], list[PromptEcho]]:
    requests = context.service.prepare(call.prompts, call.options, n=call.n, model=call.model)
    echoes = prompt_echoes(context.model, requests[:: call.n]) if call.echo else []
    return requests, echoes


@attrs.frozen(eq=False)
class _Answer:
    """The answers to one request, as one body or as events."""

    call: CompletionCall
    header: AnswerHeader
    stream: AnswerStream
    echoes: Sequence[PromptEcho]
    context: ServerContext
    record: RequestRecord

    async def body(self) -> dict[str, Any]:
        async for chunks in self.stream.chunks():
            self._count(chunks)
        tokenizer = self.context.model.loaded().tokenizer
        done = self._completions()
        if self.header.is_chat:
            body = chat_body(self.header, done, tokenizer)
        else:
            body = text_body(self.header, done, tokenizer, n=self.call.n, echoes=self.echoes)
        return {**body, "timings": self._timings(done)}

    async def events(self) -> AsyncGenerator[bytes, None]:
        call, tokenizer = self.call, self.context.model.loaded().tokenizer
        writer = (
            ChatChunks(self.header, tokenizer, call.include_usage)
            if self.header.is_chat
            else TextChunks(self.header, tokenizer, call.n, self.echoes, call.include_usage)
        )
        async_chunks = self.stream.chunks()
        try:
            for index in range(len(self.stream.completions)):
                if (first := writer.begin(index)) is not None:
                    yield encode_event(first)
            async for chunks in async_chunks:
                self._count(chunks)
                ordered = sorted(chunks, key=lambda chunk: chunk.index)  # stable: tokens remain in order
                groups = [list(group) for _, group in groupby(ordered, key=lambda chunk: chunk.index)]
                bodies = [body for group in groups if (body := writer.body(group)) is not None]
                if self.stream.is_complete and not call.include_usage:
                    bodies[-1]["timings"] = self._timings(self._completions())
                for body in bodies:
                    yield encode_event(body)
            if call.include_usage:
                done = self._completions()
                end = writer.end(usage(done, call.n))
                yield encode_event({**end, "timings": self._timings(done)})
            yield _DONE
        finally:
            await async_chunks.aclose()

    def _completions(self) -> list[Completion]:
        return [it for it in self.stream.completions if it is not None]

    def _count(self, chunks: Sequence[CompletionChunk]) -> None:
        self.record.add_tokens(sum(chunk.token is not None for chunk in chunks))

    def _timings(self, done: Sequence[Completion]) -> dict[str, Any]:
        times, counts = self.stream.timings, usage(done, self.call.n)
        cached = counts["prompt_tokens_details"]["cached_tokens"]
        self.record.queue_seconds, self.record.cached_tokens = times.queue, cached
        return {
            "queue_ms": round(1000 * times.queue, 3),
            "prefill_ms": round(1000 * times.prefill, 3),
            "decode_ms": round(1000 * times.decode, 3),
            "prompt_tokens": counts["prompt_tokens"],
            "cached_tokens": cached,
            "completion_tokens": counts["completion_tokens"],
        }
