"""Server-sent events as an ASGI response, and answers that end when their client goes away."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from litgpt.server.http.request_record import record_of
from litgpt.server.json_response import encode_json
from litgpt.server.openai.errors import ErrorReply

ResultT = TypeVar("ResultT")

PING_SECONDS = 10.0
"""The longest silence of a stream, after which a comment keeps proxies from closing the connection."""

_EVENTS = "text/event-stream; charset=utf-8"
_HEADERS = {
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
        on_close: Called at the end, also if no event was read.
        on_error: Encodes the last event of a stream that fails; None: as OpenAI's completions.
        media_type: That of the response; only server-sent events have pings.
    """

    def __init__(
        self,
        events: AsyncGenerator[bytes, None],
        *,
        on_close: Callable[[], object],
        on_error: Callable[[ErrorReply], bytes] | None = None,
        media_type: str = _EVENTS,
    ) -> None:
        super().__init__(headers={**_HEADERS, "content-type": media_type})
        self._media_type, self._last_sent = media_type, 0.0
        del self.headers["content-length"]
        self._events, self._on_close, self._on_error = events, on_close, on_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        record_of(scope).on_stream_error = self._on_error
        gone = asyncio.ensure_future(_disconnected(receive))
        sending = asyncio.ensure_future(self._send(send))
        try:
            await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                raise ClientDisconnect
            sending.result()
        finally:
            await _cancel(gone)
            try:
                await _cancel(sending)
                await self._events.aclose()
            finally:
                self._on_close()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        clock = asyncio.get_running_loop().time
        self._last_sent = clock()
        pings = asyncio.ensure_future(self._send_pings(send))
        try:
            async for event in self._events:
                self._last_sent = clock()
                await send({"type": "http.response.body", "body": event, "more_body": True})
        finally:
            await _cancel(pings)
        await send({"type": "http.response.body", "body": b""})

    async def _send_pings(self, send: Send) -> None:
        """Send a comment whenever the stream has been silent; one timer a stream, not one an event."""
        if self._media_type != _EVENTS:
            return
        clock = asyncio.get_running_loop().time
        while True:
            if clock() - self._last_sent >= PING_SECONDS:
                self._last_sent = clock()
                await send({"type": "http.response.body", "body": b": ping\n\n", "more_body": True})
            await asyncio.sleep(self._last_sent + PING_SECONDS - clock())


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cancel(task: "asyncio.Future[Any]") -> None:
    if not task.done():
        task.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await task
