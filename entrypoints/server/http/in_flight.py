"""The requests that are being answered: how long they may take, and how they end when the server stops."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp, Receive, Scope, Send

from litgpt.server.openai.errors import RequestRefused


class Admission:
    """Which requests run, and whether further ones are accepted.

    `drain` may be called from any thread and from a signal handler; `end` belongs to the event loop.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[object]] = set()
        self.is_draining = self.has_ended = False

    @property
    def active(self) -> int:
        """The number of requests that are being answered."""
        return len(self._tasks)

    def drain(self) -> None:
        """Accept no further requests."""
        self.is_draining = True

    def end(self) -> None:
        """End the requests that are still running, with an error."""
        self.is_draining = self.has_ended = True
        for task in self._tasks:
            task.cancel()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the current task as a request within the block."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - in a coroutine
        self._tasks.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if not self.has_ended:
                raise
            task.uncancel()
            message = "The server stopped before the answer was finished. Send the request again later."
            raise RequestRefused(503, message, headers={"Retry-After": "10"}) from None
        finally:
            self._tasks.discard(task)


class InFlight:
    """Middleware that refuses requests while the server stops, and ends those that take too long."""

    def __init__(self, app: ASGIApp, admission: Admission, timeout: float | None) -> None:
        self.app, self._admission, self._timeout = app, admission, timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._admission.is_draining:
            message = "The server is stopping. Send the request again later."
            raise RequestRefused(503, message, headers={"Retry-After": "10", "Connection": "close"})
        with self._admission.running():
            async with asyncio.timeout(self._timeout):
                await self.app(scope, receive, send)
