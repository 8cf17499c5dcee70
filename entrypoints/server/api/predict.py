"""`POST /predict`, LitGPT's own route: a prompt, and its answer as one object or as a stream of objects."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import attrs
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from litgpt.application.answer_builder import TextRequest
from litgpt.application.openai.fields import read_fields
from litgpt.application.openai.text_fields import PREDICT_FIELDS
from litgpt.domain.errors import InvalidArgument, MissingArgument, WrongType
from litgpt.server.answer_run import AnswerRun
from litgpt.server.context import ServerContext, context_of
from litgpt.server.http.json_body import read_json
from litgpt.server.http.request_record import record_of
from litgpt.server.json_response import JSONResponse
from litgpt.server.sse import EventStream, until_disconnect


def _is_path(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    is_path = isinstance(value, str) and value.startswith("/") and value.isascii() and value.isprintable()
    if not is_path or any(character in str(value) for character in "{}?# ") or value == "/":
        raise InvalidArgument(field.name, value, "a path such as /predict")
    if str(value).startswith("/v1/"):
        raise InvalidArgument(field.name, value, "a path outside of /v1, which has OpenAI's API")


@attrs.frozen(kw_only=True)
class PredictRoute:
    """How LitGPT's own route answers.

    Attributes:
        path: Its path.
        stream: Whether answers are sent in pieces: JSON objects on lines of their own.
        options: Keyword arguments of `LLM.generate`, the defaults of its requests.

    Raises:
        InvalidArgument: The path is not valid.
    """

    path: str = attrs.field(default="/predict", validator=_is_path)
    stream: bool = False
    options: Mapping[str, Any] = attrs.field(factory=dict)

    def route(self) -> Route:
        """Return the route for an app."""
        return Route(self.path, self._answer, methods=["POST"])

    async def _answer(self, request: Request) -> Response:
        fields = read_fields(await read_json(request), PREDICT_FIELDS)
        if "prompt" not in fields:
            raise MissingArgument("prompt", None, "add it to the body of the request.")
        prompt = fields.pop("prompt")
        if not isinstance(prompt, str):
            raise WrongType("prompt", prompt, "a text")
        if not prompt:
            raise InvalidArgument("prompt", prompt, "a text of at least one character")
        context, record = context_of(request), record_of(request.scope)
        options = {**self.options, **fields}
        requests = await until_disconnect(request, asyncio.to_thread(_prepare, context, prompt, options))
        record.model, record.prompt_tokens = context.model.name, len(requests[0].request.prompt)
        run = AnswerRun(context.service.start(requests), record)
        if self.stream:
            return EventStream(_pieces(run), on_close=run.close, media_type="application/x-ndjson")
        try:
            return JSONResponse({"output": await until_disconnect(request, _text(run))})
        finally:
            run.close()


def _prepare(context: ServerContext, prompt: str, options: Mapping[str, Any]) -> list[TextRequest]:
    return context.service.prepare([prompt], options)


async def _text(run: AnswerRun) -> str:
    async for _ in run.chunks():
        pass
    (completion,) = run.completions()
    return completion.text


async def _pieces(run: AnswerRun) -> AsyncGenerator[bytes, None]:
    async for arrived in run.chunks():
        if text := "".join(chunk.text for chunk in arrived):
            yield json.dumps({"output": text}).encode() + b"\n"
