"""Turn exceptions, and error pages in plain text, into errors in the format of OpenAI's API."""

import logging
from http import HTTPStatus

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from litgpt.server.http.request_record import record_of
from litgpt.server.openai.errors import ErrorReply, RequestRefused, error_reply, status_reply

ERROR_LOG = logging.getLogger("litgpt.server.error")

_KEPT_HEADERS = (b"allow", b"retry-after", b"www-authenticate")


class ErrorBoundary:
    """Middleware after which every error is JSON, and tracebacks are in the log only.

    An error response that is not JSON, such as the 404 of a router, is held back and replaced. An error in
    the middle of a stream of events becomes the last event.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = _Response(send)
        try:
            await self.app(scope, receive, response.send)
        except ClientDisconnect:  # nobody reads an answer
            record_of(scope).is_abandoned = True
        except Exception as error:
            reply, record = error_reply(error, scope["path"]), record_of(scope)
            is_known = isinstance(error, (RequestRefused, TimeoutError))
            if reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not is_known:
                ERROR_LOG.error("%s: the request failed", record.id, exc_info=error)
            if not response.has_started:
                await send_reply(send, reply)
            elif response.is_event_stream:
                encode = record.on_stream_error
                event = b"data: " + reply.encode() + b"\n\n" if encode is None else encode(reply)
                await send({"type": "http.response.body", "body": event, "more_body": False})
            elif not response.is_complete:
                raise  # the connection is cut, so that no client takes the part for the whole
        else:
            if response.held is not None:
                status, headers = response.held
                await send_reply(send, status_reply(status, headers=headers))


async def send_reply(send: Send, reply: ErrorReply) -> None:
    """Send an error as the whole response."""
    body = reply.encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **reply.headers}
    encoded = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": reply.status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})


class _Response:
    """The response so far. `held` has the status and headers of an error that is not JSON."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_started = self.is_complete = self.is_open_stream = False
        self.held: tuple[int, dict[str, str]] | None = None

    @property
    def is_event_stream(self) -> bool:
        return self.is_open_stream and not self.is_complete

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = dict(message.get("headers", ()))
            kind = headers.get(b"content-type", b"")
            if message["status"] >= HTTPStatus.BAD_REQUEST and not kind.startswith(b"application/json"):
                kept = {name: headers[name] for name in _KEPT_HEADERS if name in headers}
                self.held = (message["status"], {k.decode(): v.decode("latin-1") for k, v in kept.items()})
                return
            self.has_started, self.is_open_stream = True, kind.startswith(b"text/event-stream")
        elif self.held is not None:
            return
        elif message["type"] == "http.response.body" and not message.get("more_body", False):
            self.is_complete = True
        await self._send(message)
