"""Mixed load on a server for a long time, and what grows meanwhile.

    python benchmarks/soak.py smollm2 --minutes 30

It starts `litgpt serve MODEL`, requests chats (streamed and not), several completions at once, embeddings,
scores and tool calls, leaves some streams before their end and sends some bad requests. Every few seconds it
samples resident memory, open files, threads and pages of the KV cache, and prints the means of the first and
the last third. Only the standard library is imported.
"""

import asyncio
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import mean
from typing import Any

HOST = "127.0.0.1"
_ADDRESS = re.compile(rb"http://127\.0\.0\.1:(\d+)")
_PAGES = re.compile(rb"^litgpt_(kv_cache_pages_used|requests_running|requests_waiting) (\S+)", re.MULTILINE)
_TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Rome", "Oslo"]}},
            "required": ["city"],
        },
    },
}


def main() -> None:
    """Run the load and print the samples."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--interval", type=float, default=5.0, help="seconds between samples")
    arguments = parser.parse_args()
    with serving(arguments.model) as (process, port):
        end = time.monotonic() + 60 * arguments.minutes
        samples, outcomes = asyncio.run(run(process.pid, port, end, arguments.clients, arguments.interval))
        status = process.poll()
    print(json.dumps(dict(sorted(outcomes.items())), indent=2))
    for line in table(samples):
        print(line)
    if status is not None:
        raise SystemExit(f"The server ended with the status {status}.")


@contextmanager
def serving(model: str) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """Run `litgpt serve`; yield its process and its port when it is ready. Its log is a temporary file."""
    command = [sys.executable, "-m", "litgpt.cli", "serve", model, "--port", "0"]
    with tempfile.NamedTemporaryFile() as log, subprocess.Popen(command, stderr=log) as process:
        try:
            while (found := _ADDRESS.search(Path(log.name).read_bytes())) is None:
                if process.poll() is not None:
                    raise SystemExit(Path(log.name).read_text())
                time.sleep(0.2)
            yield process, int(found[1])
        finally:
            process.terminate()


async def run(
    pid: int, port: int, end: float, clients: int, interval: float
) -> tuple[list[dict[str, float]], Counter[str]]:
    """Return the samples, and the numbers of outcomes by kind of request and status."""
    outcomes: Counter[str] = Counter()
    samples: list[dict[str, float]] = []

    async def client(number: int) -> None:
        choice = random.Random(number)
        while time.monotonic() < end:
            kind, path, body, keeps = request(choice)
            try:
                status = await send(port, path, body, lines=keeps)
            except OSError as error:
                status = type(error).__name__
                await asyncio.sleep(1)
            outcomes[f"{kind}: {status}"] += 1

    async def sampler() -> None:
        while time.monotonic() < end:
            samples.append(await sample(pid, port))
            await asyncio.sleep(interval)

    await asyncio.gather(sampler(), *map(client, range(clients)))
    return samples, outcomes


def request(choice: random.Random) -> tuple[str, str, bytes, int | None]:
    """Return the kind of a request, its path, its body, and the lines of the answer to read; None: all."""
    text = f"{choice.random()} " + "Tell me about llamas. " * choice.randint(1, 20)
    messages = [{"role": "user", "content": text}]
    length = choice.randint(1, 40)
    chat: dict[str, Any] = {"messages": messages, "max_tokens": length, "ignore_eos": True}
    bad = choice.choice(
        [b"{", b"[]", b'{"messages": 3}', b'{"messages": [], "n": 0}', b'{"messages": [], "unknown": 1}']
    )
    kinds: dict[str, tuple[str, Any, int | None]] = {
        "chat": ("/v1/chat/completions", chat, None),
        "stream": ("/v1/chat/completions", {**chat, "stream": True}, None),
        "disconnect": ("/v1/chat/completions", {**chat, "max_tokens": 200, "stream": True}, length),
        "n": ("/v1/completions", {"prompt": text, "n": 3, "max_tokens": length}, None),
        "embeddings": ("/v1/embeddings", {"input": [text, "llama"]}, None),
        "score": ("/v1/score", {"prompt": text, "continuations": [" Yes", " No"]}, None),
        "tools": (
            "/v1/chat/completions",
            {"messages": messages, "max_tokens": 60, "tools": [_TOOL], "tool_choice": "auto"},
            None,
        ),
        "bad": ("/v1/chat/completions", bad, None),
    }
    kind = choice.choice([*kinds])
    path, body, lines = kinds[kind]
    return kind, path, body if isinstance(body, bytes) else json.dumps(body).encode(), lines


async def send(port: int, path: str, body: bytes, *, lines: int | None = None) -> str:
    """Send a request, read its answer or this many lines of it, and return the status."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        status = (await reader.readline()).split()[1].decode()
        if lines is None:
            await reader.read()
        else:
            for _ in range(lines):
                await reader.readline()
        return status
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def sample(pid: int, port: int) -> dict[str, float]:
    """Return the memory, files and threads of a process, and what its metrics say of its engine."""
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(f"GET /metrics HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
    metrics = await reader.read()
    writer.close()
    process = Path(f"/proc/{pid}")
    status = (process / "status").read_text()
    memory = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    return {
        "resident MiB": memory / 1024,
        "open files": len([*(process / "fd").iterdir()]),
        "threads": len([*(process / "task").iterdir()]),
        **{name.decode(): float(value) for name, value in _PAGES.findall(metrics)},
    }


def table(samples: list[dict[str, float]]) -> list[str]:
    """Return the means of the first and last third of the samples, line by line."""
    third = max(1, len(samples) // 3)
    lines = [f"{'':22}{'first third':>12}{'last third':>12}   of {len(samples)} samples"]
    for name in samples[0] if samples else ():
        first, last = (mean(it[name] for it in part) for part in (samples[:third], samples[-third:]))
        lines.append(f"{name:22}{first:12.1f}{last:12.1f}")
    return lines


if __name__ == "__main__":
    main()
