"""What a program reads from stdin: the server, its model, and the answers of the library itself."""

import json
import sys
from typing import Any

CONTEXT: dict[str, Any] = json.load(sys.stdin)
URL, KEY, MODEL = f"{CONTEXT['url']}/v1", CONTEXT["key"], CONTEXT["model"]
QUESTION, ANSWER = CONTEXT["question"], CONTEXT["answer"]
MESSAGES = [{"role": "user", "content": QUESTION}]
TOOL = CONTEXT["tool"]
