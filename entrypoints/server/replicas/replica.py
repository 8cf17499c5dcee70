"""A server of its own, to which the front passes requests."""

from collections.abc import Iterator
from contextlib import contextmanager

import attrs


@attrs.frozen
class Endpoint:
    """Where a running replica listens, on this machine.

    Attributes:
        host: Its address.
        port: Its TCP port.
        key: Its API key, which only the front knows.
    """

    host: str
    port: int
    key: str = attrs.field(repr=False)


@attrs.define(eq=False)
class Replica:
    """A replica, which may be running or not.

    Attributes:
        rank: Its index.
        endpoint: Where it listens; None while it does not run. Any thread may replace it.
        outstanding: The number of its unanswered requests, which belongs to the event loop.
    """

    rank: int
    endpoint: Endpoint | None = None
    outstanding: int = 0

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Count a request within the block."""
        self.outstanding += 1
        try:
            yield
        finally:
            self.outstanding -= 1
