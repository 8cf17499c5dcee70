"""One request to a replica, over a connection of its own: closing it is what cancels the request."""

import asyncio
from collections.abc import AsyncIterator
from typing import Self

import h11

from litgpt.domain.errors import LitGPTError
from litgpt.server.replicas.replica import Endpoint

Headers = list[tuple[bytes, bytes]]

_PIECE = 64 * 1024
_MAX_HEAD = 256 * 1024
_OF_A_CONNECTION = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization te trailer transfer-encoding "
    b"upgrade".split()
)
"""The headers that concern one connection only (RFC 9110, section 7.6.1), and older ones."""

_OF_THE_FRONT = frozenset(b"authorization content-length expect host origin x-api-key".split())
"""What the front has checked already, or knows better."""


class ReplicaLost(LitGPTError, ConnectionError):
    """A replica has closed the connection before the end of a response, or cannot be reached."""

    def __str__(self) -> str:
        return "The process that computed this answer has ended. Send the request again."


class ReplicaConnection:
    """Sends a request and returns the response as it comes; its `with` block closes the connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD)

    @classmethod
    async def open(cls, endpoint: Endpoint) -> Self:
        """Connect to a replica.

        Raises:
            ReplicaLost: It does not listen.
        """
        try:
            return cls(*await asyncio.open_connection(endpoint.host, endpoint.port, limit=_PIECE))
        except OSError as error:
            raise ReplicaLost from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.transport.abort()

    async def send(
        self, endpoint: Endpoint, method: str, target: bytes, headers: Headers, body: bytes
    ) -> None:
        """Send a request with the key of the replica in place of the client's.

        Raises:
            ReplicaLost: The connection is gone.
        """
        passed = [
            *((name, value) for name, value in headers if name not in _OF_A_CONNECTION | _OF_THE_FRONT),
            (b"host", f"{endpoint.host}:{endpoint.port}".encode()),
            (b"authorization", f"Bearer {endpoint.key}".encode()),
            (b"connection", b"close"),
        ]
        if body:
            passed.append((b"content-length", str(len(body)).encode()))
        request = h11.Request(method=method, target=target, headers=passed)
        events = [request, *([h11.Data(data=body)] if body else []), h11.EndOfMessage()]
        try:
            self._writer.write(b"".join(self._http.send(event) or b"" for event in events))
            await self._writer.drain()
        except OSError as error:
            raise ReplicaLost from error

    async def response(self) -> tuple[int, Headers]:
        """Return the status and the headers of the response.

        Raises:
            ReplicaLost: The connection is gone.
        """
        while not isinstance(event := await self._next(), h11.Response):
            if isinstance(event, h11.ConnectionClosed):
                raise ReplicaLost
        return event.status_code, [it for it in event.headers if it[0] not in _OF_A_CONNECTION | {b"date"}]

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the body of the response, piece by piece.

        Raises:
            ReplicaLost: The connection is gone.
        """
        while not isinstance(event := await self._next(), h11.EndOfMessage):
            if isinstance(event, h11.Data):
                yield bytes(event.data)

    async def _next(self) -> h11.Event:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(await self._reader.read(_PIECE))
        except (OSError, h11.RemoteProtocolError) as error:
            raise ReplicaLost from error
        assert isinstance(event, h11.Event)  # noqa: S101 - PAUSED is for servers
        return event
