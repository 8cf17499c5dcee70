"""Streams of events: pings while they are silent, in a real server."""

import asyncio
from collections.abc import AsyncGenerator
from http.client import HTTPConnection

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from litgpt.server import sse
from litgpt.server.run import start_in_thread
from litgpt.server.settings import ServerSettings


@pytest.mark.parametrize(("media_type", "has_pings"), [(None, True), ("application/x-ndjson", False)])
def test_a_silent_stream_of_events_has_pings(
    monkeypatch: pytest.MonkeyPatch, media_type: str | None, *, has_pings: bool
) -> None:
    monkeypatch.setattr(sse, "PING_SECONDS", 0.01)
    pinged = asyncio.Event()

    async def events() -> AsyncGenerator[bytes, None]:
        yield b"data: 1\n\n"
        if has_pings:  # the client ends the silence
            await pinged.wait()
        else:
            await asyncio.sleep(0.1)
        yield b"data: 2\n\n"

    async def stream(_: Request) -> sse.EventStream:
        if media_type is None:
            return sse.EventStream(events(), on_close=lambda: None)
        return sse.EventStream(events(), on_close=lambda: None, media_type=media_type)

    async def end_silence(_: Request) -> Response:
        pinged.set()
        return Response()

    app = Starlette(routes=[Route("/stream", stream), Route("/pinged", end_silence)])
    with start_in_thread(app, ServerSettings(port=0)) as server:
        address = server.url.removeprefix("http://")
        connection, other = HTTPConnection(address), HTTPConnection(address)
        connection.request("GET", "/stream")
        reply, received = connection.getresponse(), b""
        while piece := reply.read1():
            received += piece
            if has_pings and received.count(b": ping\n\n") >= 2 and not pinged.is_set():
                other.request("GET", "/pinged")
                other.getresponse().read()
        connection.close()
        other.close()
    assert received.replace(b": ping\n\n", b"") == b"data: 1\n\ndata: 2\n\n"
    assert (b": ping" in received) == has_pings
