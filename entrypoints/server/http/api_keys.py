"""Require an API key on every path, except those that say no more than that there is a server."""

import hashlib
import hmac
from collections.abc import Iterable, Iterator

from starlette.types import ASGIApp, Receive, Scope, Send

from litgpt.server.openai.errors import RequestRefused

_PUBLIC = frozenset({"/", "/health", "/health/live"})
"""The page, which asks for a key itself and has no data, and what load balancers read."""


class ApiKeys:
    """Middleware that requires one of several keys, as `Authorization: Bearer KEY` or `X-API-Key: KEY`.

    Digests are compared, in constant time, so that the time does not tell how much of a key is right.
    """

    def __init__(self, app: ASGIApp, keys: Iterable[str]) -> None:
        self.app, self._digests = app, [_digest(key.encode("ascii")) for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_public = scope["path"] in _PUBLIC and scope["method"] in ("GET", "HEAD")
        if self._digests and not is_public:
            given = list(_keys_of(scope))
            if not given:
                raise _refusal("This server needs an API key. Send it as `Authorization: Bearer KEY`.")
            if not any(self._is_valid(key) for key in given):
                raise _refusal("The API key is not valid for this server.")
        await self.app(scope, receive, send)

    def _is_valid(self, key: bytes) -> bool:
        digest = _digest(key)
        # All are compared, so that the time does not depend on which one is equal.
        matches = [hmac.compare_digest(digest, valid) for valid in self._digests]
        return any(matches)


def _keys_of(scope: Scope) -> Iterator[bytes]:
    for name, value in scope["headers"]:
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            yield value[7:].strip()
        elif name == b"x-api-key":
            yield value.strip()


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _refusal(message: str) -> RequestRefused:
    return RequestRefused(401, message, headers={"WWW-Authenticate": "Bearer"})
