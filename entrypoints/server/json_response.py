"""JSON bodies of responses."""

import json
from typing import Any

from starlette.responses import Response


class JSONResponse(Response):
    """A JSON body; log-probabilities that are minus infinity become the least finite number."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
