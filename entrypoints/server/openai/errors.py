"""Errors in the format of OpenAI's API: exceptions of the library become a status, a body and headers."""

import json
import math
from collections.abc import Mapping
from typing import Any

import attrs

from litgpt.application.serving.errors import EngineStopped, QueueFull, ServerStopping
from litgpt.application.serving.served_model import UnknownModel
from litgpt.domain.errors import (
    InsufficientSpace,
    InvalidArgument,
    LitGPTError,
    NotDistributed,
    NotInstalled,
    PromptTooLong,
    TextTooLong,
    UnsupportedOperation,
    UnsupportedPrompt,
)
from litgpt.domain.generation.errors import (
    AllTokensExcluded,
    ConstraintFailed,
    ModelBusy,
    ModelClosed,
    NonFiniteLogits,
    WeightsReplaced,
    WorkerFailed,
    WorkerLost,
)
from litgpt.domain.validation.call_signatures import InvalidCall

_CODES = {
    401: "invalid_api_key",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "request_too_large",
    415: "unsupported_media_type",
    429: "rate_limit_exceeded",
    431: "headers_too_large",
    503: "service_unavailable",
    504: "timeout",
}

_PROMPTS = {
    "/v1/chat/completions": "messages",
    "/v1/responses": "input",
    "/v1/embeddings": "input",
    "/v1/rerank": "documents",
    "/v1/score": "continuations",
}
"""The fields that have the prompts; those of other paths have the name `prompt`."""

_MESSAGES = {
    404: "This path does not exist on this server. The API is under /v1, such as /v1/chat/completions.",
    405: "This path does not support this method.",
    500: "The server could not answer because of an error of its own. The reason is in its log.",
    503: "The server cannot answer at the moment. Try again later.",
    504: "The answer took longer than this server allows. Ask for fewer tokens.",
}


@attrs.define(eq=False)
class RequestRefused(LitGPTError):
    """A request that is not answered; the message is for the client.

    Attributes:
        status: The HTTP status.
        message: A sentence with the reason, and one with the remedy.
        param: The field of the request that is not valid, such as `messages[0].role`.
        code: An identifier for programs; None: the usual one of the status.
        headers: Further headers, such as `Retry-After`.
    """

    status: int
    message: str
    param: str | None = None
    code: str | None = None
    headers: Mapping[str, str] = attrs.field(factory=dict)

    def __str__(self) -> str:
        return self.message


@attrs.frozen
class ErrorReply:
    """An error as it is sent: the HTTP status, the JSON body and further headers."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str] = attrs.field(factory=dict)

    def encode(self) -> bytes:
        """Return the body in UTF-8."""
        return json.dumps(self.body, ensure_ascii=True).encode()


def error_reply(error: BaseException, path: str = "") -> ErrorReply:
    """Return the reply to a request for `path` that failed with an exception.

    The messages of errors that the client can correct are sent. Those of the server's own errors are not,
    since they may name files and devices.
    """
    if isinstance(error, RequestRefused):
        return status_reply(error.status, error.message, error.param, error.code, error.headers)
    if isinstance(error, PromptTooLong):
        # Not the error's own message, whose remedies are those of the library's callers.
        message = (
            f"The text has {error.tokens} tokens, but the context length is {error.context}. Shorten it."
            if isinstance(error, TextTooLong)
            else f"The prompt has {error.tokens} tokens, but the context length is {error.context}, of which "
            "the answer needs at least one. Shorten the prompt, such as by leaving out its oldest messages."
        )
        return status_reply(400, message, _PROMPTS.get(path, "prompt"), "context_length_exceeded")
    if isinstance(error, InvalidArgument):
        return status_reply(400, str(error), error.name)
    if isinstance(error, UnknownModel):
        return status_reply(404, str(error), "model", "model_not_found")
    if isinstance(error, QueueFull):
        return status_reply(429, str(error), headers={"Retry-After": str(math.ceil(error.retry_after))})
    status, code = _status_of(error)
    message = str(error) if status == 400 else _MESSAGES[status]
    return status_reply(status, message, code=code, headers={"Retry-After": "5"} if status == 503 else {})


def status_reply(
    status: int,
    message: str | None = None,
    param: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> ErrorReply:
    """Return the reply of an HTTP status, with its usual message and code unless others are passed."""
    error = {
        "message": message or _MESSAGES.get(status, "The request is not valid."),
        "type": _type_of(status),
        "param": param,
        "code": code or _CODES.get(status),
    }
    return ErrorReply(status, {"error": error}, headers or {})


def _type_of(status: int) -> str:
    if status == 429:
        return "rate_limit_error"
    return "invalid_request_error" if status < 500 else "server_error"


def _status_of(error: BaseException) -> tuple[int, str | None]:
    for kinds, status, code in _STATUSES:
        if isinstance(error, kinds):
            return status, code
    return 500, "internal_error"


_STATUSES: tuple[tuple[tuple[type[BaseException], ...], int, str | None], ...] = (
    ((InsufficientSpace,), 503, "insufficient_memory"),
    ((AllTokensExcluded, ConstraintFailed, InvalidCall, UnsupportedPrompt), 400, None),
    ((NotInstalled, UnsupportedOperation), 400, "unsupported"),
    ((TimeoutError,), 504, None),
    ((EngineStopped, ServerStopping), 503, None),
    ((NonFiniteLogits,), 500, "non_finite_logits"),
    ((WorkerFailed,), 500, "worker_failed"),
    ((ModelBusy, ModelClosed, NotDistributed, WeightsReplaced, WorkerLost), 503, "model_unavailable"),
)
"""The first entry that an exception belongs to counts; all others are the status 500."""
