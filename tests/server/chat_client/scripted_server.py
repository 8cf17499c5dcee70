"""A server that sends what a test wants, behind the real uvicorn."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import anyio
import attrs
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from litgpt.server.run import RunningServer, start_in_thread
from litgpt.server.settings import ServerSettings

MODELS = {"object": "list", "data": [{"id": "base"}, {"id": "base:poet", "parent": "base"}]}


@attrs.define
class Script:
    """The next answer: a response, or the data of events, after which the stream may wait for ever.

    Attributes:
        requests: The bodies of all requests so far.
        begun: Set when a stream waits.
        left: Set when its client has left.
    """

    events: Sequence[Any] = ()
    response: Response | None = None
    waits: bool = False
    requests: list[dict[str, Any]] = attrs.field(factory=list)
    keys: list[str | None] = attrs.field(factory=list)
    begun: threading.Event = attrs.field(factory=threading.Event)
    left: threading.Event = attrs.field(factory=threading.Event)

    async def models(self, request: Request) -> Response:
        self.keys.append(request.headers.get("Authorization"))
        return JSONResponse(MODELS)

    async def answer(self, request: Request) -> Response:
        self.requests.append(await request.json())
        if self.response is not None:
            return self.response
        return StreamingResponse(self._stream(), media_type="text/event-stream")

    async def _stream(self) -> Any:
        for event in self.events:
            yield event if isinstance(event, bytes) else f"data: {json.dumps(event)}\n\n".encode()
        if self.waits:
            self.begun.set()
            try:
                await anyio.sleep_forever()
            finally:
                self.left.set()


def delta(finish_reason: str | None = None, **fields: Any) -> dict[str, Any]:
    """Return a chunk of a streamed chat completion."""
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish_reason}]}


DONE = b"data: [DONE]\n\n"


@contextmanager
def scripted(script: Script) -> Iterator[RunningServer]:
    """Serve a script on a free port within the block."""
    routes = [
        Route("/v1/models", script.models),
        Route("/v1/chat/completions", script.answer, methods=["POST"]),
    ]
    with start_in_thread(Starlette(routes=routes), ServerSettings(port=0)) as server:
        yield server
