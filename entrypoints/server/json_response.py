"""JSON bodies of responses."""

import json
import math
from typing import Any

from starlette.responses import Response

LEAST_LOGPROB = -9999.0
"""What stands for minus infinity, which JSON does not have, as in OpenAI's API."""

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
"""Made once: `json.dumps` with such options makes one a call."""


class JSONResponse(Response):
    """A JSON body."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return encode_json(content)


def encode_json(value: Any) -> bytes:
    """Return a value as JSON in UTF-8; log-probabilities of minus infinity become `LEAST_LOGPROB`."""
    try:
        text = _ENCODER.encode(value)
    except ValueError:
        text = _ENCODER.encode(_finite(value))
    return text.encode()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return LEAST_LOGPROB if isinstance(value, float) and value == -math.inf else value
