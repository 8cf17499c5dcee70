"""A small app behind the real server, for tests of what every request passes."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPResponse
from typing import Any

import attrs
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from litgpt.application.serving.served_model import UnknownModel
from litgpt.domain.errors import InvalidArgument, PromptTooLong
from litgpt.server.http.json_body import read_json
from litgpt.server.http.request_record import record_of
from litgpt.server.metrics import EngineProbe
from litgpt.server.run import RunningServer, start_in_thread
from litgpt.server.settings import ServerSettings

ALLOWED_BODY, ALLOWED_DEPTH, ALLOWED_HEADERS = 64 * 1024, 16, 8 * 1024
"""Limits that tests exceed with little data."""

SMALL_LIMITS: dict[str, Any] = {
    "max_body_bytes": ALLOWED_BODY,
    "max_json_depth": ALLOWED_DEPTH,
    "max_header_bytes": ALLOWED_HEADERS,
}


@attrs.define
class Gate:
    """Where an answer waits until a test lets it go on."""

    entered: threading.Event = attrs.field(factory=threading.Event)
    left: threading.Event = attrs.field(factory=threading.Event)
    cancelled: threading.Event = attrs.field(factory=threading.Event)

    async def wait(self) -> None:
        self.entered.set()
        try:
            while not self.left.is_set():  # noqa: ASYNC110 - another thread sets it
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise


def small_app(gate: Gate | None = None) -> Starlette:
    """Return an app with the kinds of routes that the API has: JSON, a stream, a page, and failures."""
    gate = gate or Gate()

    async def echo(request: Request) -> Response:
        body = await read_json(request)
        record = record_of(request.scope)
        record.prompt_tokens, record.cached_tokens, record.queue_seconds = 12, 8, 0.002
        record.add_tokens(3)
        return JSONResponse({"got": body})

    async def stream(_: Request) -> Response:
        async def events() -> Any:
            yield 'data: {"n": 1}\n\n'
            await gate.wait()
            yield 'data: {"n": 2}\n\n'
            yield "data: [DONE]\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    async def broken_stream(_: Request) -> Response:
        async def events() -> Any:
            yield 'data: {"n": 1}\n\n'
            raise RuntimeError("a secret detail")

        return StreamingResponse(events(), media_type="text/event-stream")

    async def fail(request: Request) -> Response:
        errors: dict[str, Exception] = {
            "argument": InvalidArgument("temperature", -1, "a number from 0"),
            "context": PromptTooLong(3000, 2048),
            "model": UnknownModel("gpt-9", ["smollm2"]),
            "bug": RuntimeError("a secret detail"),
        }
        raise errors[request.path_params["kind"]]

    async def wait(_: Request) -> Response:
        await gate.wait()
        return JSONResponse({"ok": True})

    async def page(_: Request) -> Response:
        return HTMLResponse("<title>page</title>", headers={"Content-Security-Policy": "default-src 'self'"})

    return Starlette(
        routes=[
            Route("/", page),
            Route("/v1/echo", echo, methods=["POST"]),
            Route("/v1/stream", stream, methods=["GET", "POST"]),
            Route("/v1/broken", broken_stream),
            Route("/v1/fail/{kind}", fail),
            Route("/v1/wait", wait),
        ]
    )


@contextmanager
def serving(
    gate: Gate | None = None, engine: EngineProbe | None = None, **settings: Any
) -> Iterator[RunningServer]:
    """Serve the small app on a free port within the block."""
    with start_in_thread(
        small_app(gate), ServerSettings(**{"port": 0, "grace_period": 60} | settings), engine=engine
    ) as server:
        yield server


@attrs.frozen
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def port_of(server: RunningServer) -> int:
    return int(server.url.rsplit(":", 1)[1])


def connect(server: RunningServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port_of(server)), timeout=120)


def send_raw(server: RunningServer, raw: bytes) -> Reply:
    """Send bytes to a server, and return the first response."""
    with connect(server) as connection:
        connection.sendall(raw)
        return read_reply(connection, "HEAD" if raw.startswith(b"HEAD ") else "GET")


def read_reply(connection: socket.socket, method: str = "GET") -> Reply:
    """Read one response with a Content-Length or chunks, or up to the end of the connection."""
    response = HTTPResponse(connection, method=method)
    response.begin()
    return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


def request(
    server: RunningServer,
    method: str,
    path: str,
    body: object = None,
    headers: dict[str, str] | None = None,
) -> Reply:
    """Send a request with a body of JSON, or of bytes as they are."""
    raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"Host": f"127.0.0.1:{port_of(server)}", "Connection": "close"}
    if body is not None:
        fields |= {"Content-Type": "application/json", "Content-Length": str(len(raw))}
    fields |= headers or {}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    return send_raw(server, f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + raw)


def error_of(reply: Reply) -> dict[str, Any]:
    """Return the error of a reply, which must have the format of OpenAI's API."""
    assert reply.headers["content-type"].startswith("application/json"), reply
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert isinstance(error["type"], str)
    return error  # type: ignore[no-any-return]
