"""Give each request an id, and log and count it when it is finished."""

import logging
import time

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from litgpt.domain.validation.untrusted_files import printable
from litgpt.server.http.request_record import RequestRecord, new_request_id, set_record
from litgpt.server.metrics import Metrics

ACCESS_LOG = logging.getLogger("litgpt.server.access")

_DISCONNECTED = 499
"""The status in the log of a request whose client left before the end, by nginx's convention."""

_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_MOST_BYTES = 20_000


class RequestLog:
    """Middleware that writes one line a request, without its text unless `log_prompts` is set."""

    def __init__(self, app: ASGIApp, metrics: Metrics, *, log_prompts: bool) -> None:
        self.app, self._metrics, self._log_prompts = app, metrics, log_prompts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sent = next((value for name, value in scope["headers"] if name == b"x-request-id"), None)
        record = RequestRecord(id=new_request_id(sent), metrics=self._metrics)
        set_record(scope, record)
        status = _DISCONNECTED

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-Id"] = record.id
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            self._finish(scope, record, _DISCONNECTED if record.is_abandoned else status)

    def _finish(self, scope: Scope, record: RequestRecord, status: int) -> None:
        seconds = time.perf_counter() - record.started
        metrics = self._metrics
        metrics.prompt_tokens += record.prompt_tokens or 0
        metrics.cached_tokens += record.cached_tokens
        metrics.completion_tokens += record.completion_tokens
        if record.prompt_tokens is not None:
            metrics.duration.observe(seconds)
        if record.queue_seconds is not None:
            metrics.queue_time.observe(record.queue_seconds)
        method = scope["method"] if scope["method"] in _METHODS else "other"
        metrics.count_request(method, _route(scope), status)
        ACCESS_LOG.info("%s", _line(scope, record, status, seconds, log_prompts=self._log_prompts))


def _route(scope: Scope) -> str:
    """Return the pattern of the path; clients could create any number of time series with the paths."""
    if "litgpt.route" in scope:
        return str(scope["litgpt.route"])
    endpoint, routes = scope.get("endpoint"), getattr(scope.get("router"), "routes", ())
    found = (it.path for it in routes if endpoint is not None and getattr(it, "endpoint", None) is endpoint)
    return str(next(found, "other"))


def _line(scope: Scope, record: RequestRecord, status: int, seconds: float, *, log_prompts: bool) -> str:
    client = scope.get("client")
    parts = [f"{printable(scope['method'])} {printable(scope['path'])} {status} {1000 * seconds:.0f} ms"]
    if record.prompt_tokens is not None:
        cached = f" ({record.cached_tokens} cached)" if record.cached_tokens else ""
        parts.append(f"{record.prompt_tokens}{cached} + {record.completion_tokens} tokens")
    if record.queue_seconds is not None:
        parts.append(f"queue {1000 * record.queue_seconds:.0f} ms")
    parts += [client[0] if client else "-", record.id]
    if log_prompts and record.body:  # on one line, so that no text looks like another entry
        parts.append(repr(record.body[:_MOST_BYTES].decode(errors="replace")))
    return ", ".join(parts)
