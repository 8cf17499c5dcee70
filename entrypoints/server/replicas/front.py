"""One address for several replicas of a model: an ASGI app that passes each request to one of them."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus

from starlette.requests import Request
from starlette.routing import compile_path
from starlette.types import Receive, Scope, Send

from litgpt.application.openai.description.endpoints import ENDPOINTS
from litgpt.application.serving.prompt_affinity import PromptAffinity, prompt_text
from litgpt.server.http.json_body import read_json
from litgpt.server.http.request_record import record_of
from litgpt.server.metrics import EngineStatus
from litgpt.server.openai.errors import RequestRefused
from litgpt.server.replicas.connection import ReplicaConnection, ReplicaLost
from litgpt.server.replicas.metrics import merge_metrics
from litgpt.server.replicas.replica import Endpoint, Replica
from litgpt.server.sse import until_disconnect

_METRICS_SECONDS = 2.0
_BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_LARGE = 64 * 1024
"""The bytes of a body whose text is read in a thread: other answers go on meanwhile."""


class ReplicaFront:
    """An ASGI app in front of replicas. It belongs behind `ProtectedApp`: the replicas check nothing again.

    A request goes to the replica that `PromptAffinity` selects, and to another one if that refuses it because
    it is busy, or does not listen. Bytes are passed on as they come. The connection to a replica is closed
    as soon as the client goes away, which cancels the answer. An answer whose replica ends fails.

    Args:
        replicas: The replicas, at their ranks.
        predict_path: The path of LitGPT's own route; None: they do not have it.
    """

    def __init__(self, replicas: Sequence[Replica], *, predict_path: str | None = None) -> None:
        self._replicas = replicas
        paths = ["/", "/openapi.json", *(it.path for it in ENDPOINTS), *filter(None, [predict_path])]
        paths = [path.replace("{model}", "{model:path}") for path in paths]  # as the router of a replica
        self._routes = {path: compile_path(path)[0] for path in paths}
        self._affinity = PromptAffinity()
        self._known: dict[int, Endpoint] = {}

    def status(self) -> EngineStatus:
        """Return the state of all replicas together, for `/health`."""
        running = [it for it in self._replicas if it.endpoint is not None]
        return EngineStatus(
            is_alive=bool(running),
            is_degraded=len(running) < len(self._replicas),
            running=sum(it.outstanding for it in self._replicas),
        )

    async def metrics(self, own: str) -> str:
        """Return the metrics of the front and of each replica, which has the label `replica`."""
        texts = await asyncio.gather(*(self._metrics_of(it) for it in self._replicas))
        return merge_metrics(own, texts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            request = Request(scope, receive)
            self._set_route(scope)
            text, body = "", await request.body()
            if body:
                fields = await read_json(request)
                is_large = len(body) > _LARGE
                text = await asyncio.to_thread(prompt_text, fields) if is_large else prompt_text(fields)
            await until_disconnect(request, self._pass_on(scope, body, text, send))
        else:
            await _lifespan(receive, send)

    def _set_route(self, scope: Scope) -> None:
        """Set the pattern of the path for the metrics, also for requests that no replica gets."""
        known = (path for path, pattern in self._routes.items() if pattern.match(scope["path"]))
        scope["litgpt.route"] = next(known, "other")

    async def _pass_on(self, scope: Scope, body: bytes, text: str, send: Send) -> None:
        tried: set[int] = set()
        while (replica := self._select(text, tried)) is not None:
            endpoint = replica.endpoint
            tried.add(replica.rank)
            if endpoint is None:
                continue
            with replica.answering(), suppress(_NotReached):
                others = self._has_others(tried)
                status = await self._exchange(endpoint, scope, body, send, has_others=others)
                if status is not None:
                    if status < HTTPStatus.BAD_REQUEST:
                        self._affinity.remember(text, replica.rank)
                    return
        message = "No process that could answer runs at the moment. Send the request again."
        raise RequestRefused(503, message, headers={"Retry-After": "5"})

    def _has_others(self, tried: set[int]) -> bool:
        return any(it.endpoint is not None and it.rank not in tried for it in self._replicas)

    def _select(self, text: str, tried: set[int]) -> Replica | None:
        outstanding = {}
        for it in self._replicas:
            if it.endpoint is None:
                continue
            if self._known.get(it.rank) is not it.endpoint:  # started again: its cache is empty
                self._known[it.rank] = it.endpoint
                self._affinity.forget(it.rank)
            if it.rank not in tried:
                outstanding[it.rank] = it.outstanding
        return self._replicas[self._affinity.select(text, outstanding)] if outstanding else None

    async def _exchange(
        self, endpoint: Endpoint, scope: Scope, body: bytes, send: Send, *, has_others: bool
    ) -> int | None:
        """Return the status of the response; None: none was passed on, as others may be less busy."""
        query = scope["query_string"]
        target = scope["raw_path"] + (b"?" + query if query else b"")
        headers = [(name, value) for name, value in scope["headers"] if name != b"x-request-id"]
        headers.append((b"x-request-id", record_of(scope).id.encode()))
        try:
            connection = await ReplicaConnection.open(endpoint)
        except ReplicaLost as error:
            raise _NotReached from error
        with connection:
            try:
                await connection.send(endpoint, scope["method"], target, headers, body)
                status, answered = await connection.response()
            except ReplicaLost as error:
                # Not to another one: a request that has ended a process could end all of them.
                raise RequestRefused(503, str(error), headers={"Retry-After": "1"}) from error
            if status in _BUSY and has_others:
                return None
            await send({"type": "http.response.start", "status": int(status), "headers": answered})
            try:
                async for piece in connection.body():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            except ReplicaLost as error:
                raise RequestRefused(503, str(error)) from error
            await send({"type": "http.response.body", "body": b""})
        return status

    async def _metrics_of(self, replica: Replica) -> str | None:
        endpoint = replica.endpoint
        if endpoint is None:
            return None
        try:
            async with asyncio.timeout(_METRICS_SECONDS):
                with await ReplicaConnection.open(endpoint) as connection:
                    await connection.send(endpoint, "GET", b"/metrics", [], b"")
                    status, _ = await connection.response()
                    raw = b"".join([piece async for piece in connection.body()])
        except (ReplicaLost, TimeoutError):
            return None
        return raw.decode() if status == HTTPStatus.OK else None


class _NotReached(Exception):
    """A request has not reached a replica, so that another one can get it."""


async def _lifespan(receive: Receive, send: Send) -> None:
    for kind in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{kind}.complete"})
