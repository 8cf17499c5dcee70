"""Which web pages may use the server: none but its own, unless their origins are named."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from litgpt.server.openai.errors import RequestRefused, error_reply

_HARMLESS = ("GET", "HEAD")


class OriginCheck:
    """Middleware that refuses requests of other web pages that could change something or cost time."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self.app, self._origins = app, frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if origin is not None and scope["method"] not in _HARMLESS and not self._is_allowed(origin, headers):
            raise _refusal()
        await self.app(scope, receive, send)

    def _is_allowed(self, origin: str, headers: Headers) -> bool:
        if "*" in self._origins or origin in self._origins:
            return True
        try:
            own = urlsplit(origin).netloc.lower()
        except ValueError:
            return False
        return bool(own) and own == headers.get("host", "").lower()


def _refusal() -> RequestRefused:
    message = (
        "This server does not accept requests of this web page. Start it with --cors and the page's origin."
    )
    return RequestRefused(403, message, code="origin_not_allowed")


class Cors(CORSMiddleware):
    """Starlette's CORS middleware for named origins, whose refusals have the format of all other errors."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=("*",),  # clients send many of their own, such as X-Stainless-Lang
            expose_headers=("X-Request-Id", "Retry-After"),
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        """Return the answer to the question of a browser whether it may send a request."""
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        reply = error_reply(_refusal())
        return Response(reply.encode(), reply.status, media_type="application/json")
