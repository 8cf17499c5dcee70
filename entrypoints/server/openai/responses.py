"""`POST /v1/responses`."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import attrs
from starlette.requests import Request
from starlette.responses import Response

from litgpt.application.answer_builder import TextRequest
from litgpt.application.openai.responses.body import ResponseHeader
from litgpt.application.openai.responses.events import ResponseEvents
from litgpt.application.openai.responses.request import read_response
from litgpt.domain.generation.request import Completion
from litgpt.server.answer_run import AnswerRun
from litgpt.server.context import context_of
from litgpt.server.http.json_body import read_json
from litgpt.server.http.request_record import record_of
from litgpt.server.json_response import JSONResponse
from litgpt.server.openai.errors import ErrorReply
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
    answer = _Answer(AnswerRun(context.service.start([prepared]), record), events)
    if call.stream:
        return EventStream(answer.events(), on_close=answer.run.close, on_error=answer.failed)
    try:
        return JSONResponse(await until_disconnect(request, answer.body()))
    finally:
        answer.run.close()


@attrs.frozen(eq=False)
class _Answer:
    """The answer to one request, as one body or as events."""

    run: AnswerRun
    writer: ResponseEvents

    async def body(self) -> Any:
        async for chunks in self.run.chunks():
            for _ in self.writer.add(chunks):
                pass
        *_, last = self.writer.end(self._completion(), timings=self.run.timings())
        return last["response"]

    async def events(self) -> AsyncGenerator[bytes, None]:
        for event in self.writer.begin():
            yield _encode(event)
        async for chunks in self.run.chunks():
            for event in self.writer.add(chunks):
                yield _encode(event)
        for event in self.writer.end(self._completion(), timings=self.run.timings()):
            yield _encode(event)

    def failed(self, reply: ErrorReply) -> bytes:
        """Return the last event of a response that has failed."""
        message = reply.body["error"]["message"]
        return _encode(self.writer.fail({"code": "server_error", "message": message}))

    def _completion(self) -> Completion:
        (completion,) = self.run.completions()
        return completion


def _encode(event: dict[str, Any]) -> bytes:
    return encode_event(event, event["type"])
