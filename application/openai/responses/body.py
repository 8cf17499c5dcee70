"""The object that describes a response."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from uuid import uuid4

import attrs

from litgpt.domain.generation.request import Completion

Status = Literal["in_progress", "completed", "incomplete", "failed"]


@attrs.frozen(kw_only=True)
class ResponseHeader:
    """What is known of a response before it is computed.

    Attributes:
        model: The name of the model.
        described: The fields of the request that it repeats.
        temperature: The temperature that is used.
        top_p: The probability of nucleus sampling that is used.
        id: Its id.
        created: When it was requested, in seconds since 1970.
    """

    model: str
    described: Mapping[str, Any]
    temperature: float
    top_p: float
    id: str = attrs.field(factory=lambda: f"resp_{uuid4().hex}")
    created: float = attrs.field(factory=lambda: float(int(time.time())))

    def body(self, status: Status, output: Sequence[Mapping[str, Any]] = (), **fields: Any) -> dict[str, Any]:
        """Return the response with its output items and further fields."""
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "model": self.model,
            "output": list(output),
            "temperature": self.temperature,
            "top_p": self.top_p,
            "background": False,
            "previous_response_id": None,
            "service_tier": "default",
            "truncation": "disabled",
            "usage": None,
            **self.described,
            **fields,
        }


def response_usage(completion: Completion, reasoning_tokens: int) -> dict[str, Any]:
    """Return the numbers of tokens."""
    return {
        "input_tokens": completion.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": completion.cached_tokens,
            "cache_write_tokens": completion.prompt_tokens - completion.cached_tokens,
        },
        "output_tokens": completion.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": reasoning_tokens},
        "total_tokens": completion.prompt_tokens + completion.completion_tokens,
    }
