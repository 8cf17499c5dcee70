"""What is known of a request when it is logged and counted."""

import re
import secrets
import time
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any

import attrs

from litgpt.server.metrics import Metrics

if TYPE_CHECKING:
    from litgpt.server.openai.errors import ErrorReply

_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_KEY = "litgpt.record"


@attrs.define(eq=False, kw_only=True)
class RequestRecord:
    """What a request's handler reports, for the log and the metrics.

    Attributes:
        id: The id that the client sent, or a random one.
        prompt_tokens: The tokens of the prompt; None: the request has no prompt.
        cached_tokens: Those of them whose keys and values were not computed again.
        completion_tokens: The tokens of the answers.
        queue_seconds: How long the request waited for a place in the batch.
        model: The name of the model that answered.
        body: The body of the request, which is logged with `log_prompts` only.
        is_abandoned: Whether the client has left before the end of the answer.
        on_stream_error: Encodes the error that ends a stream of events; None: as OpenAI's completions do.
        started: When its headers had arrived, in seconds of `time.perf_counter`.
    """

    id: str
    metrics: Metrics = attrs.field(repr=False)
    prompt_tokens: int | None = None
    cached_tokens: int = 0
    completion_tokens: int = 0
    queue_seconds: float | None = None
    model: str | None = None
    body: bytes = attrs.field(default=b"", repr=False)
    is_abandoned: bool = False
    on_stream_error: "Callable[[ErrorReply], bytes] | None" = attrs.field(default=None, repr=False)
    started: float = attrs.field(factory=time.perf_counter)
    _last_token: float | None = attrs.field(default=None, init=False)

    def add_tokens(self, count: int = 1) -> None:
        """Count tokens that have just been generated, and measure the time since the previous ones."""
        now = time.perf_counter()
        if self._last_token is None:
            self.metrics.first_token.observe(now - self.started)
            if count > 1:
                self.metrics.between_tokens.observe(0.0, count - 1)
        elif count:
            self.metrics.between_tokens.observe((now - self._last_token) / count, count)
        self._last_token = now
        self.completion_tokens += count


def new_request_id(sent: bytes | None) -> str:
    """Return the id of a request: that of its `X-Request-Id` if it is harmless in logs, or a random one."""
    if sent is not None and _ID.fullmatch(sent):
        return sent.decode("ascii")
    return f"req-{secrets.token_hex(12)}"


def set_record(scope: MutableMapping[str, Any], record: RequestRecord) -> None:
    """Store the record of a request in its ASGI scope."""
    scope[_KEY] = record


def record_of(scope: MutableMapping[str, Any]) -> RequestRecord:
    """Return the record of a request, `record_of(request.scope)`.

    An app that is not behind `protect`, as in a test, gets one that is not logged.
    """
    record = scope.get(_KEY)
    if not isinstance(record, RequestRecord):
        record = RequestRecord(id=new_request_id(None), metrics=Metrics())
        scope[_KEY] = record
    return record
