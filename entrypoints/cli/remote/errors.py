"""Errors of a chat with a server, with what the user can do about each."""

import json
from typing import Any

import attrs

from litgpt.domain.errors import LitGPTError

_MAX_MESSAGE = 2000
"""The most characters of a server's message that are shown."""


@attrs.define(eq=False)
class ServerUnreachable(LitGPTError, ConnectionError):
    """The server cannot be reached.

    Attributes:
        url: Its URL.
        reason: The reason, without a period.
        remedy: A sentence that says what to do.
    """

    url: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"The server at {self.url} cannot be reached: {self.reason}. {self.remedy}"


@attrs.define(eq=False)
class ConnectionLost(LitGPTError, ConnectionError):
    """The connection ended before the answer did."""

    reason: str

    def __str__(self) -> str:
        return (
            f"The server closed the connection before the end of the answer: {self.reason}. "
            "Send the message again; if it happens again, the reason is in the server's log."
        )


@attrs.define(eq=False)
class RequestFailed(LitGPTError):
    """The server refused a request, or answered with something that cannot be used.

    Attributes:
        message: A sentence with the reason.
        remedy: A sentence that says what to do; empty if the message says it.
        status: The HTTP status; None for an error in the middle of an answer.
    """

    message: str
    remedy: str = ""
    status: int | None = None

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


def refused(status: int, body: bytes, retry_after: str | None, *, has_key: bool) -> RequestFailed:
    """Return the error for a response with an error status; `has_key` is whether a key was sent."""
    try:
        error = json.loads(body)["error"]
    except (ValueError, RecursionError, KeyError, TypeError):
        error = None
    return request_failed(error, status, retry_after, has_key=has_key)


def request_failed(
    error: Any, status: int | None = None, retry_after: str | None = None, *, has_key: bool = False
) -> RequestFailed:
    """Return the exception for an error in the format of OpenAI's API, which is checked."""
    fields = error if isinstance(error, dict) else {"message": error}
    message = fields.get("message")
    known = isinstance(message, str) and bool(message)
    message = str(message)[:_MAX_MESSAGE] if known else f"The server answered with the status {status}."
    if status == 401:
        message = "The server does not accept the API key." if has_key else "The server needs an API key."
        return RequestFailed(message, "Pass its key with --api-key or in LITGPT_API_KEY.", status)
    if status == 404 and not known:
        return RequestFailed(message, "Check that --url is the root of an OpenAI-compatible server.", status)
    if fields.get("code") == "context_length_exceeded":
        remedy = "Here, /undo shortens the conversation, and /reset starts a new one."
        return RequestFailed(message, remedy, status)
    return RequestFailed(message, _wait(retry_after) if status in (429, 503) else "", status)


def _wait(retry_after: str | None) -> str:
    seconds = retry_after if retry_after is not None and retry_after.isdecimal() else None
    when = "later" if seconds is None or len(seconds) > 6 else f"in {seconds} s"
    return f"Send the message again {when}."
