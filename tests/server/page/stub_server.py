"""A server with the wire format of `litgpt serve`, for states that a model gives rarely."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from litgpt.server.page.page import page_route
from tests.server.page.stub_answers import ANSWERS, TIMINGS, Piece

MODEL = {
    "id": "smollm2",
    "object": "model",
    "created": 1764500000,
    "owned_by": "litgpt",
    "context_length": 2048,
    "parent": None,
    "sampling": {"temperature": 0.8, "top_k": 50, "top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.0},
    "size_bytes": 91_000_000,
    "reasoning": False,
}
ADAPTER = {**MODEL, "id": "smollm2:poet", "parent": "smollm2"}


class Stub:
    """The state of the server: the requests that it had, and what the answer to `hold` says next."""

    def __init__(self) -> None:
        self.models_served: list[dict[str, Any]] = [MODEL, ADAPTER]
        self.requests: list[dict[str, Any]] = []
        self.key: str | None = None
        self.address = ""
        self.loop: asyncio.AbstractEventLoop | None = None
        self.held: asyncio.Queue[str | None] = asyncio.Queue()
        self.closed_by_client = threading.Event()

    def write(self, *texts: str | None) -> None:
        """Let the answer to `hold` write these texts; None ends it."""
        assert self.loop is not None
        for text in texts:
            self.loop.call_soon_threadsafe(self.held.put_nowait, text)

    async def models(self, request: Request) -> Response:
        return self.refused(request) or JSONResponse({"object": "list", "data": self.models_served})

    async def chat(self, request: Request) -> Response:
        if refused := self.refused(request):
            return refused
        body = await request.json()
        self.requests.append(body)
        prompt = next(one["content"] for one in reversed(body["messages"]) if one["role"] == "user")
        if prompt == "busy":
            return error(429, "The server has no free place.", {"Retry-After": "2"})
        return StreamingResponse(self.stream(body, prompt.split()[0]), media_type="text/event-stream")

    def refused(self, request: Request) -> Response | None:
        if self.key is None or request.headers.get("authorization") == f"Bearer {self.key}":
            return None
        return error(401, "Incorrect API key.")

    async def stream(self, body: dict[str, Any], name: str) -> AsyncIterator[str]:
        timings = {**TIMINGS, "queue_ms": 2100.0, "prefill_ms": 5200.0} if name == "slow" else TIMINGS
        yield event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
        yield ": ping\n\n"
        async for piece in self.pieces(body, name):
            if "error" in piece:
                yield event(piece)
                return
            yield event({"model": body["model"], "choices": [{"index": 0, "finish_reason": None, **piece}]})
        finish = {"length": "length", "tool": "tool_calls"}.get(name, "stop")
        yield event({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
        usage = {"prompt_tokens": 412, "completion_tokens": 214, "total_tokens": 626}
        yield event({"choices": [], "usage": usage, "timings": timings})
        yield "data: [DONE]\n\n"

    async def pieces(self, body: dict[str, Any], name: str) -> AsyncIterator[Piece]:
        if name == "hold" and not body.get("continue_final_message"):
            async for piece in self.held_pieces():
                yield piece
            return
        answer = ANSWERS[
            "rest" if body.get("continue_final_message") else name if name in ANSWERS else "markdown"
        ]
        for piece in answer(body):
            yield piece
            await asyncio.sleep(0)

    async def held_pieces(self) -> AsyncIterator[Piece]:
        try:
            while (text := await self.held.get()) is not None:
                yield {"delta": {"content": text}}
        except (asyncio.CancelledError, GeneratorExit):
            self.closed_by_client.set()
            raise


def event(data: object) -> str:
    return f"data: {json.dumps(data)}\n\n"


def error(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None}}
    return JSONResponse(body, status, headers)


class ThreadedServer(uvicorn.Server):
    """A server in a thread, which says when it can be reached."""

    def __init__(self, app: Any) -> None:
        super().__init__(uvicorn.Config(app, host="127.0.0.1", port=0, lifespan="off", log_level="error"))
        self.ready = threading.Event()
        self.loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.loop = asyncio.get_running_loop()
        self.ready.set()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}"


@contextmanager
def serving() -> Iterator[Stub]:
    """Run the stub on a free port."""
    stub = Stub()
    routes = [
        page_route(),
        Route("/v1/models", stub.models),
        Route("/v1/chat/completions", stub.chat, methods=["POST"]),
    ]
    server = ThreadedServer(Starlette(routes=routes))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert server.ready.wait(300)
    stub.loop, stub.address = server.loop, server.address
    yield stub
    server.should_exit = server.force_exit = True
    thread.join(300)
