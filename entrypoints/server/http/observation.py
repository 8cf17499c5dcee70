"""`/health`, `/health/live` and `/metrics`, which need no engine to answer."""

import json

from starlette.types import ASGIApp, Receive, Scope, Send

from litgpt.server.http.in_flight import Admission
from litgpt.server.metrics import CONTENT_TYPE, EngineProbe, EngineStatus, Metrics, MetricsSource
from litgpt.server.openai.errors import RequestRefused


class Observation:
    """Middleware that answers for the state of the server, also while it stops."""

    def __init__(
        self, app: ASGIApp, metrics: Metrics, admission: Admission, engine: EngineProbe | None = None
    ) -> None:
        self.app, self._metrics, self._admission, self._engine = app, metrics, admission, engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path not in ("/health", "/health/live", "/metrics"):
            await self.app(scope, receive, send)
            return
        scope["litgpt.route"] = path
        if scope["method"] not in ("GET", "HEAD"):
            raise RequestRefused(405, f"{path} answers GET only.", headers={"Allow": "GET, HEAD"})
        if path == "/metrics":
            text = self._metrics.render(self._status())
            if isinstance(self._engine, MetricsSource):
                text = await self._engine.metrics(text)
            await _answer(send, 200, text.encode(), CONTENT_TYPE)
            return
        state = "alive" if path == "/health/live" else self._state()
        status = 200 if state in ("alive", "ok", "degraded") else 503
        await _answer(send, status, json.dumps({"status": state}).encode(), "application/json")

    def _status(self) -> EngineStatus:
        return EngineStatus(running=self._admission.active) if self._engine is None else self._engine.status()

    def _state(self) -> str:
        if self._admission.is_draining:
            return "draining"
        return self._status().state


async def _answer(send: Send, status: int, body: bytes, content_type: str) -> None:
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
