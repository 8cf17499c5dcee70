"""Server-sent events as an ASGI response, and answers that end when their client goes away."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from litgpt.server.json_response import encode_json

ResultT = TypeVar("ResultT")

PING_SECONDS = 10.0
"""The longest silence of a stream, after which a comment keeps proxies from closing the connection."""

_HEADERS = {
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    "x-accel-buffering": "no",  # nginx would hold the events back
}


def encode_event(data: Mapping[str, Any], event: str | None = None) -> bytes:
    """Return an event with JSON data, and with a type if it has one."""
    raw = b"data: " + encode_json(data) + b"\n\n"
    return raw if event is None else f"event: {event}\n".encode() + raw


async def until_disconnect(request: Request, work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Return the result of `work`, which is cancelled if the client goes away.

    Raises:
        ClientDisconnect: The client has gone away.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request.receive))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        await _cancel(gone)
        await _cancel(task)


class EventStream(Response):
    """Sends events as they come. The events are closed when all are sent, or when the client goes away.

    Args:
        events: The encoded events.
    """

    def __init__(self, events: AsyncGenerator[bytes, None]) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - of ASGI
        gone = asyncio.ensure_future(_disconnected(receive))
        sending = asyncio.ensure_future(self._send(send))
        try:
            await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                raise ClientDisconnect
            sending.result()
        finally:
            await _cancel(gone)
            await _cancel(sending)
            await self._events.aclose()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        following = asyncio.ensure_future(anext(self._events, None))
        try:
            while True:
                done, _ = await asyncio.wait((following,), timeout=PING_SECONDS)
                if not done:
                    await send({"type": "http.response.body", "body": b": ping\n\n", "more_body": True})
                    continue
                event = following.result()
                if event is None:
                    break
                await send({"type": "http.response.body", "body": event, "more_body": True})
                following = asyncio.ensure_future(anext(self._events, None))
        finally:
            await _cancel(following)
        await send({"type": "http.response.body", "body": b""})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cancel(task: "asyncio.Future[Any]") -> None:
    if not task.done():
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task
