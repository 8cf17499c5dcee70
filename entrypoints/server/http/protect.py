"""An app behind all checks of the server, in their order."""

from starlette.types import ASGIApp, Receive, Scope, Send

from litgpt.server.http.api_keys import ApiKeys
from litgpt.server.http.body_limits import BodyLimits
from litgpt.server.http.error_boundary import ErrorBoundary
from litgpt.server.http.host_check import HostCheck
from litgpt.server.http.in_flight import Admission, InFlight
from litgpt.server.http.observation import Observation
from litgpt.server.http.origins import Cors, OriginCheck
from litgpt.server.http.request_log import RequestLog
from litgpt.server.http.security_headers import SecurityHeaders
from litgpt.server.metrics import EngineProbe, Metrics
from litgpt.server.settings import ServerSettings


class ProtectedApp:
    """An ASGI app that passes on the requests that may come in.

    Args:
        app: The app with the routes of the API. Any error response of it becomes JSON.
        settings: Who may use it, and the limits.
        engine: What `/health` and `/metrics` report on; None: an app without an engine.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings, engine: EngineProbe | None = None) -> None:
        self._app = app
        self.metrics, self.admission = Metrics(), Admission()
        # From the inside out. No body is read before the key is checked. Errors have CORS headers as well,
        # because a web page could not read them otherwise.
        inner: ASGIApp = BodyLimits(app, settings)
        inner = InFlight(inner, self.admission, settings.request_timeout)
        inner = Observation(inner, self.metrics, self.admission, engine)
        inner = ApiKeys(inner, settings.api_keys)
        inner = OriginCheck(inner, settings.cors_origins)
        inner = HostCheck(inner, settings)
        inner = ErrorBoundary(inner)
        if settings.cors_origins:
            inner = Cors(inner, settings.cors_origins)
        inner = SecurityHeaders(inner)
        self._checks = RequestLog(inner, self.metrics, log_prompts=settings.log_prompts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._checks(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})
