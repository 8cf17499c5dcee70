"""A request in the engine loop, and who gets its events."""

import time
from typing import Protocol

import attrs

from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.scheduling.events import EngineEvent


class TicketOwner(Protocol):
    """Receives the events of its requests."""

    def put(self, ticket: "Ticket", event: EngineEvent) -> None: ...


@attrs.define(eq=False)
class Ticket:
    """A request in the loop; the times are of `time.monotonic`.

    Attributes:
        owner: Receives its events.
        number: The number of the request among those of its owner.
        queued: When it was submitted.
        started: When the first step that computes it began; None: it waits.
        first_token: When its first token was sampled.
        finished: When it ended.
        is_cancelled: Whether its owner has given it up: it gets no more events.
    """

    request: GenerationRequest
    owner: TicketOwner
    number: int
    queued: float = attrs.field(factory=time.monotonic)
    started: float | None = None
    first_token: float | None = None
    finished: float | None = None
    is_cancelled: bool = False
