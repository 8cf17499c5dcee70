"""JSON bodies of responses."""

import json
import math
from typing import Any

from starlette.responses import Response

LEAST_LOGPROB = -9999.0
"""What stands for minus infinity, which JSON does not have, as in OpenAI's API."""


class JSONResponse(Response):
    """A JSON body."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return encode_json(content)


def encode_json(value: Any) -> bytes:
    """Return a value as JSON in UTF-8; log-probabilities of minus infinity become `LEAST_LOGPROB`."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.encode()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return LEAST_LOGPROB if isinstance(value, float) and value == -math.inf else value
