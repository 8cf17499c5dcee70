"""Read the body of a request before its handler runs: JSON, of bounded size, within a bounded time."""

import asyncio
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from litgpt.server.http.json_body import set_max_depth
from litgpt.server.openai.errors import RequestRefused
from litgpt.server.settings import ServerSettings

_SHARE = 8
"""How many bodies of the largest size may be in memory at once."""


class BodyLimits:
    """Middleware that passes on whole bodies; a later disconnect is passed on as it happens."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        self.app = app
        self._max_bytes, self._seconds = settings.max_body_bytes, settings.arrival_timeout
        self._max_depth, self._held = settings.max_json_depth, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        set_max_depth(scope, self._max_depth)
        headers = Headers(scope=scope)
        length, encoding = headers.get("content-length"), headers.get("transfer-encoding")
        if length in (None, "0") and encoding is None:
            await self.app(scope, receive, send)
            return
        if length is not None and encoding is not None:  # proxies disagree about where such a request ends
            raise RequestRefused(400, "Send either Content-Length or Transfer-Encoding, not both.")
        _check_type(headers)
        if length is not None and int(length) > self._max_bytes:
            raise self._too_large(f"{int(length):,} bytes")
        own = 0

        def hold(size: int) -> None:
            nonlocal own
            own += size
            self._held += size
            if own > self._max_bytes:
                raise self._too_large("more")
            if self._held > _SHARE * self._max_bytes:
                message = "The server has as many large requests as it can hold. Try again later."
                raise RequestRefused(503, message, headers={"Retry-After": "5"})

        try:
            messages = [await self._read(receive, hold)]

            async def receive_rest() -> Message:
                return messages.pop() if messages else await receive()

            await self.app(scope, receive_rest, send)
        finally:
            self._held -= own

    async def _read(self, receive: Receive, hold: Callable[[int], None]) -> Message:
        body = bytearray()
        try:
            async with asyncio.timeout(self._seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientDisconnect
                    hold(len(message.get("body", b"")))
                    body += message.get("body", b"")
                    if not message.get("more_body", False):
                        return {"type": "http.request", "body": bytes(body), "more_body": False}
        except TimeoutError:
            message_text = f"The body did not arrive within {self._seconds:g} seconds."
            raise RequestRefused(408, message_text, headers={"Connection": "close"}) from None

    def _too_large(self, size: str) -> RequestRefused:
        message = f"The body of a request may have {self._max_bytes:,} bytes, but this one has {size}."
        return RequestRefused(413, message)


def _check_type(headers: Headers) -> None:
    kind, *parameters = headers.get("content-type", "").lower().split(";")
    if kind.strip() != "application/json":
        # Browsers also send no other type across origins without asking first.
        raise RequestRefused(415, "The body must be JSON. Send it with `Content-Type: application/json`.")
    for parameter in parameters:
        name, _, value = parameter.strip().partition("=")
        if name == "charset" and value.strip('"') not in ("utf-8", "utf8"):
            raise RequestRefused(415, "The body must be in UTF-8.")
    if headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise RequestRefused(415, "The body must not be compressed: this server decodes no Content-Encoding.")
