"""Clients that measure a server of OpenAI's API under load. Only the standard library is imported."""

import asyncio
import json
import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

_HOST = "127.0.0.1"


class Outcome(NamedTuple):
    """What a client saw.

    Attributes:
        status: The HTTP status.
        first_s: The seconds from the request to the first text of the answer.
        total_s: The seconds to its end.
        tokens: The tokens of the answer, as the server counts them.
    """

    status: int
    first_s: float
    total_s: float
    tokens: int


async def run_clients(port: int, requests: Iterable[tuple[list[int], int]], clients: int) -> list[Outcome]:
    """Return the outcomes of streamed completions that this many clients request, each one after another."""
    source = iter(requests)

    async def client() -> list[Outcome]:
        return [await complete(port, prompt, count) for prompt, count in source]

    done = await asyncio.gather(*(client() for _ in range(clients)))
    return [outcome for outcomes in done for outcome in outcomes]


async def complete(port: int, prompt: list[int], count: int) -> Outcome:
    """Request a streamed greedy completion of exactly `count` tokens, and read it."""
    body = {
        "prompt": prompt,
        "max_tokens": count,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection(_HOST, port)
    try:
        writer.write(_request("POST", "/v1/completions", json.dumps(body).encode()))
        status = int((await reader.readline()).split()[1])
        while await reader.readline() not in (b"\r\n", b""):
            pass
        first, tokens = 0.0, 0
        async for line in reader:
            # The text of a chunk is not empty once its tokens are whole characters.
            if line.startswith(b"data: {"):
                if not first and b'"text":""' not in line:
                    first = time.perf_counter() - began
                if b'"usage":{' in line:
                    tokens = json.loads(line[6:])["usage"]["completion_tokens"]
            elif line.startswith(b"data: [DONE]"):
                break
        return Outcome(status, first, time.perf_counter() - began, tokens)
    finally:
        writer.close()


def _request(method: str, path: str, body: bytes) -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: {_HOST}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body


def summary(outcomes: list[Outcome], seconds: float) -> dict[str, Any]:
    """Return the figures of a run that took `seconds`."""
    answered = [it for it in outcomes if it.status == 200]
    first = sorted(it.first_s for it in answered)
    return {
        "answered": len(answered),
        "statuses": dict(_counts(it.status for it in outcomes)),
        "tokens_per_s": sum(it.tokens for it in answered) / seconds,
        "first_s": first[len(first) // 2] if first else None,
        "first_p95_s": first[len(first) * 95 // 100] if first else None,
        "seconds": seconds,
    }


def _counts(values: Iterable[int]) -> Iterator[tuple[int, int]]:
    found = list(values)
    for value in sorted(set(found)):
        yield value, found.count(value)
