"""Why a server does not compute a request."""

import math

import attrs

from litgpt.domain.errors import LitGPTError


@attrs.frozen
class QueueFull(LitGPTError, RuntimeError):
    """Too many requests wait.

    Attributes:
        waiting: Their number.
        retry_after: The seconds after which there is probably room.
    """

    waiting: int
    retry_after: float

    def __str__(self) -> str:
        return (
            f"{self.waiting} requests are waiting, which is as many as this server accepts. "
            f"Try again in {math.ceil(self.retry_after)} seconds."
        )


@attrs.frozen
class ServerStopping(LitGPTError, RuntimeError):
    """The server is shutting down."""

    def __str__(self) -> str:
        return "The server is shutting down. Send the request again when it has restarted."


@attrs.frozen
class EngineStopped(LitGPTError, RuntimeError):
    """The engine has failed and cannot compute requests any more."""

    cause: BaseException | None

    def __str__(self) -> str:
        return f"The engine has stopped: {self.cause!r}. Restart the server."
