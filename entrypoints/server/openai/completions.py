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
from litgpt.domain.ports import Tokenizer
from litgpt.server.answer_run import AnswerRun
from litgpt.server.context import ServerContext, context_of
from litgpt.server.http.json_body import read_json
from litgpt.server.http.request_record import record_of
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
    requests = await until_disconnect(request, asyncio.to_thread(_prepare, context, call))
    tokenizer, echoes = context.model.loaded().tokenizer, []
    if call.echo:
        echoed = requests[:: call.n]
        echoes = await until_disconnect(request, _echo(context, echoed))
    record.prompt_tokens = sum(len(it.request.prompt) for it in requests[:: call.n])
    run = AnswerRun(context.service.start(requests), record, call.n)
    answer = _Answer(call, header, run, echoes, tokenizer)
    if call.stream:
        return EventStream(answer.events(), on_close=run.close)
    try:
        return JSONResponse(await until_disconnect(request, answer.body()))
    finally:
        run.close()


async def _echo(context: ServerContext, requests: Sequence[TextRequest]) -> list[PromptEcho]:
    """Return the prompts as text; up to 128 of them are decoded, each as long as the context."""
    logprobs = await context.scoring.prompt_logprobs([it.request for it in requests])
    tokenizer = context.model.loaded().tokenizer
    return await asyncio.to_thread(prompt_echoes, tokenizer, requests, logprobs)


def _prepare(context: ServerContext, call: CompletionCall) -> list[TextRequest]:
    return context.service.prepare(call.prompts, call.options, n=call.n, model=call.model)


@attrs.frozen(eq=False)
class _Answer:
    """The answers to one request, as one body or as events."""

    call: CompletionCall
    header: AnswerHeader
    run: AnswerRun
    echoes: Sequence[PromptEcho]
    tokenizer: Tokenizer

    async def body(self) -> dict[str, Any]:
        async for _ in self.run.chunks():
            pass
        done = self.run.completions()
        if self.header.is_chat:
            body = chat_body(self.header, done, self.tokenizer)
        else:
            body = text_body(self.header, done, self.tokenizer, n=self.call.n, echoes=self.echoes)
        return {**body, "timings": self.run.timings()}

    async def events(self) -> AsyncGenerator[bytes, None]:
        call, run = self.call, self.run
        writer = (
            ChatChunks(self.header, self.tokenizer, call.include_usage)
            if self.header.is_chat
            else TextChunks(self.header, self.tokenizer, call.n, self.echoes, call.include_usage)
        )
        for index in range(len(run.stream.completions)):
            if (first := writer.begin(index)) is not None:
                yield encode_event(first)
        async for chunks in run.chunks():
            ordered = sorted(chunks, key=lambda chunk: chunk.index)  # stable: tokens remain in order
            groups = [list(group) for _, group in groupby(ordered, key=lambda chunk: chunk.index)]
            bodies = [body for group in groups if (body := writer.body(group)) is not None]
            if run.stream.is_complete and not call.include_usage:
                bodies[-1]["timings"] = run.timings()
            if bodies:  # in one message: each has a cost in every layer of HTTP
                yield b"".join(map(encode_event, bodies))
        if call.include_usage:
            end = writer.end(usage(run.completions(), call.n))
            yield encode_event({**end, "timings": run.timings()})
        yield _DONE
