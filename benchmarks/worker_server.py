"""Measure `litgpt serve`, or llama.cpp's server, with 64 clients that stream their answers.

The same requests through the library alone show what HTTP costs. Under overload, each request must get an
answer or the status 429.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import worker_llama_server
from http_load import complete, run_clients, summary
from workload import REQUESTS, mixed_requests, token_ids

CLIENTS = 64
MAX_QUEUE = 32
MAX_SEQUENCES = 256
OVERLOAD = 2 * (MAX_SEQUENCES + MAX_QUEUE)
"""Twice as many requests at once as `litgpt serve` runs and lets wait."""

_ADDRESS = re.compile(rb"http://127\.0\.0\.1:(\d+)")


def main() -> None:
    """Print the measurements."""
    parser = ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--part", type=int, nargs=2, default=(0, REQUESTS), help="of the requests")
    parser.add_argument("--llama-server", help="the program; measured instead of litgpt serve")
    parser.add_argument("--library", action="store_true", help="measure the library without a server")
    parser.add_argument("--overload", action="store_true")
    arguments = parser.parse_args()
    requests = mixed_requests(*arguments.part)
    if arguments.library:
        print(json.dumps(library(arguments.model, requests)))
        return
    if arguments.llama_server:
        server = worker_llama_server.running(arguments.llama_server, arguments.model, arguments.threads)
    else:
        server = litgpt_serve(arguments.model, arguments.threads)
    with server as port:
        asyncio.run(complete(port, token_ids(8, -1), 8))  # warm
        clients = CLIENTS
        if arguments.overload:
            requests = [(token_ids(16, 9000 + at), 16) for at in range(OVERLOAD)]
            clients = OVERLOAD
        start = time.perf_counter()
        outcomes = asyncio.run(run_clients(port, requests, clients))
        print(json.dumps(summary(outcomes, time.perf_counter() - start)))


@contextmanager
def litgpt_serve(model: str, threads: int) -> Iterator[int]:
    """Run `litgpt serve`; yield its port when it is ready."""
    command = [sys.executable, "-m", "litgpt.cli", "serve", model, "--port", "0"]
    command += ["--max-queue", str(MAX_QUEUE)]
    environment = {**os.environ, "LITGPT_NUM_THREADS": str(threads)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment) as process:
        try:
            found = next(filter(None, map(_ADDRESS.search, process.stderr or ())), None)
            if found is None:
                raise SystemExit("litgpt serve did not start")
            # The log must not fill the pipe.
            Thread(target=process.communicate, daemon=True).start()
            yield int(found[1])
        finally:
            process.terminate()


def library(model: str, pairs: list[tuple[list[int], int]]) -> dict[str, Any]:
    """Return the tokens per second of the same requests, as many at a time as there are clients."""
    from worker_engine import request

    from litgpt import LLM

    llm = LLM.load(model, quiet=True)
    generator = llm._generator()
    for _ in generator.generate([request(token_ids(8, -1), 8)]):  # warm
        pass
    source, running = iter([request(*it) for it in pairs]), 0

    def requests() -> Iterator[Any]:
        nonlocal running
        while True:
            if running == CLIENTS:
                yield None
                continue
            following = next(source, None)
            if following is None:
                return
            running += 1
            yield following

    start, tokens = time.perf_counter(), 0
    for event in generator.generate(requests()):
        tokens += 1
        running -= event.finish_reason is not None
    return {"tokens_per_s": tokens / (time.perf_counter() - start)}


if __name__ == "__main__":
    main()
