"""Measure llama.cpp's server with 16 slots, whose clients are threads. Only the standard library."""

import json
import socket
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any

from workload import REQUESTS, count_tokens, mixed_requests, token_ids

SLOTS, CLIENTS = 16, 32
"""Twice as many clients as slots, so that a request waits for each slot that becomes free."""

SLOT_CONTEXT = 1024
STARTUP_S = 120.0


def main() -> None:
    """Print the measurements."""
    parser = ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--server", required=True, help="the program llama-server")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--part", type=int, nargs=2, default=(0, REQUESTS), help="of the requests")
    arguments = parser.parse_args()
    requests = mixed_requests(*arguments.part)
    with running(arguments.server, arguments.model, arguments.threads) as port:
        answer(port, token_ids(8, -1), 8)  # warm
        start = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as clients:
            answers = list(clients.map(lambda it: answer(port, *it), requests))
        seconds = time.perf_counter() - start
    if [it["tokens_predicted"] for it in answers] != [count for _, count in requests]:
        raise SystemExit("llama-server: answers of other lengths")
    print(json.dumps({"tokens_per_s": count_tokens(requests) / seconds, "seconds": seconds}))


@contextmanager
def running(server: str, model: str, threads: int) -> Iterator[int]:
    """Run the server; yield its port when it is ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options: dict[str, object] = {
        "--model": model,
        "--host": "127.0.0.1",
        "--port": port,
        "--parallel": SLOTS,
        "--ctx-size": SLOTS * SLOT_CONTEXT,
        "--threads": threads,
        "--threads-batch": threads,
    }
    command = [server, *(str(it) for pair in options.items() for it in pair)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_ready(process, port)
        yield port
    finally:
        process.terminate()
        process.wait()


def wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until the server has loaded the model."""
    end = time.monotonic() + STARTUP_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise SystemExit(f"llama-server ended with status {process.returncode}")
        try:
            if call(port, "GET", "/health")[0] == 200:
                return
        except OSError:
            pass  # it does not listen yet
        time.sleep(0.05)
    raise SystemExit(f"llama-server was not ready within {STARTUP_S:.0f} s")


def answer(port: int, prompt: list[int], count: int) -> Any:
    """Return a greedy answer of exactly `count` tokens; the prompt cache is as by default."""
    body = {"prompt": prompt, "n_predict": count, "ignore_eos": True, "temperature": 0}
    status, found = call(port, "POST", "/completion", body)
    if status != 200:
        raise SystemExit(f"llama-server answered with {status}: {found}")
    return found


def call(port: int, method: str, path: str, body: object = None) -> tuple[int, Any]:
    """Return the status and the JSON of a response."""
    connection = HTTPConnection("127.0.0.1", port, timeout=600)
    try:
        payload = None if body is None else json.dumps(body)
        connection.request(method, path, payload, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, json.loads(response.read() or b"null")
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main())
