"""uvicorn's HTTP/1.1 protocol with limits on connections and on the time that headers may take to arrive."""

import asyncio
import sys
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from litgpt.server.openai.errors import status_reply
from litgpt.server.settings import ServerSettings

_LINGER_SECONDS = 2.0
"""How long to read what a refused client still sends: it would see a reset and not the reason otherwise."""

_HEADER_PIECE = 1024

_MESSAGES = {
    400: "This is not a valid HTTP request.",
    408: "The request did not arrive in time.",
    431: "The request line and the headers are too long.",
    503: "The server has too many open connections. Try again later.",
}


def protocol_class(settings: ServerSettings) -> type[H11Protocol]:
    """Return the protocol of a server with these limits."""
    return type("LimitedProtocol", (LimitedProtocol,), {"settings": settings})


class LimitedProtocol(H11Protocol):
    """Refuses what is not HTTP, in the format of OpenAI's errors, and clients that send nothing.

    Attributes:
        settings: The limits, which `protocol_class` sets in a subclass.
    """

    settings: ServerSettings

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None
        self._is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        number = len(self.connections)
        if number > 2 * self.settings.max_connections:
            transport.abort()
        elif number > self.settings.max_connections:
            self._refuse(503)
        else:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._set_deadline(None)
        super().connection_lost(exc)

    def eof_received(self) -> None:
        if self._is_refused:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        while data and not self._is_refused:
            # In pieces, because h11 checks the size of incomplete headers only.
            size = _HEADER_PIECE if self.conn.their_state is h11.IDLE else len(data)
            super().data_received(data[:size])
            data = data[size:]
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's signature
        # uvicorn calls this where it handles h11's error, which has the status.
        self._refuse(getattr(sys.exc_info()[1], "error_status_hint", 400))

    def _watch(self) -> None:
        """Set a deadline while headers are awaited, or the rest of a body that nobody reads any more."""
        if self._is_refused or self.transport.is_closing():
            return
        state = self.conn.their_state
        is_awaited = state is h11.IDLE or (state is h11.SEND_BODY and self.conn.our_state is h11.DONE)
        if not is_awaited:
            self._set_deadline(None)
        elif self._deadline is None:
            self._set_deadline(self.settings.arrival_timeout)

    def _set_deadline(self, seconds: float | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None else self.loop.call_later(seconds, self._on_deadline)

    def _on_deadline(self) -> None:
        self._deadline = None
        if self._is_refused or self.transport.is_closing() or not self.conn.trailing_data[0]:
            self.transport.close()
        else:
            self._refuse(408)

    def _refuse(self, status: int) -> None:
        """Send an error and close the connection."""
        self._is_refused = True
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):  # in the middle of a response
            self.transport.close()
            return
        reply = status_reply(status, _MESSAGES.get(status, _MESSAGES[400]))
        body = reply.encode()
        headers = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "connection": "close",
        }
        start = h11.Response(
            status_code=status, headers=list(headers.items()), reason=HTTPStatus(status).phrase.encode()
        )
        for event in (start, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._set_deadline(_LINGER_SECONDS)
