"""The engine of one LLM, by itself and beside others with running batches, and what options of requests cost.

By itself: requests that join and leave a batch, threads, long prompts, shared prefixes. Beside it, in turns:
llama.cpp's server and transformers' continuous batching with the same requests, and lm-eval, which scores the
same texts.
"""

import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from checkpoints import gguf_files, hellaswag, news, prepare_folder
from engine_report import LLAMA_SERVER, LM_EVAL, NATIVE, SCORING, TRANSFORMERS, report
from environments import Unavailable, python_of
from llama_server import llama_server
from machine import has_bf16_products
from processes import run_worker
from workload import REQUESTS

__all__ = ["measure", "report"]

FORMAT = "Q4_1"
ROUNDS = 2
"""Each has its own part of the requests and rows."""

SLOW_REQUESTS = 64
"""Those that transformers computes, which is the slowest."""

ROWS = 200
"""The rows of HellaSwag, with four endings each."""


def measure(threads: int) -> dict[str, Any]:
    """Measure everything, each in a process of its own."""
    print("Engine …", file=sys.stderr)
    file = gguf_files()[FORMAT]
    return {
        "format": FORMAT,
        **run_worker(sys.executable, "engine", file, threads=threads),
        **measure_options(file, threads),
        **measure_peers(file, threads),
    }


def measure_options(file: Path, threads: int) -> dict[str, Any]:
    """Measure schemas, drafts from the prompt and samplers."""
    print("Engine, options of requests …", file=sys.stderr)
    arguments = ("--large-vocabulary", gguf_files()["random-150k"], "--news", news())
    return run_worker(sys.executable, "engine_options", file, *arguments, threads=threads)


def measure_peers(file: Path, threads: int) -> dict[str, Any]:
    """Let this library and its peers take turns; a peer that is unavailable is named with the reason."""
    unavailable: dict[str, dict[str, str]] = {}
    folder = prepare_folder()
    # Before the rounds, which do not wait for a compiler.
    server = attempt(LLAMA_SERVER, lambda: {"program": llama_server()}, unavailable)
    texts = attempt(LM_EVAL, lambda: {"rows": hellaswag(ROWS)}, unavailable)
    if LM_EVAL in unavailable:  # its rows are not needed
        unavailable[SCORING] = unavailable[LM_EVAL]
    dtype = "bfloat16" if has_bf16_products() else "float32"
    in_dtype = ("--dtype", dtype)

    def worker(name: str, model: Path, part: range, *arguments: str | Path, peer: str = "") -> dict[str, Any]:
        python = python_of(peer) if peer else sys.executable
        options = ("--part", str(part.start), str(part.stop), *arguments)
        return run_worker(python, name, model, *options, threads=threads)

    rounds = []
    for at, (every, some, scored) in enumerate(
        zip(*map(parts, (REQUESTS, SLOW_REQUESTS, ROWS)), strict=True)
    ):
        print(f"Engine, round {at + 1} of {ROUNDS} …", file=sys.stderr)
        slow = range(every.start, every.start + len(some))
        contestants: dict[str, Callable[[], dict[str, Any]]] = {
            NATIVE: partial(worker, "engine", file, every),
            LLAMA_SERVER: lambda every=every: worker(
                "llama_server", file, every, "--server", server["program"]
            ),
            TRANSFORMERS: partial(
                worker, "continuous_batching", folder, slow, *in_dtype, peer="transformers"
            ),
            SCORING: lambda scored=scored: worker("scoring", folder, scored, "--rows", texts["rows"]),
            LM_EVAL: lambda scored=scored: worker(
                "lm_eval", folder, scored, "--rows", texts["rows"], *in_dtype, peer="lm-eval"
            ),
        }
        rounds.append({name: attempt(name, run, unavailable) for name, run in contestants.items()})
    return {
        "rounds": rounds,
        "dtype": dtype,
        "requests": REQUESTS,
        "slow_requests": SLOW_REQUESTS,
        "rows": ROWS,
    }


def parts(count: int) -> list[range]:
    """Return a range of the same length for each round."""
    ends = [count * at // ROUNDS for at in range(ROUNDS + 1)]
    return [range(first, last) for first, last in pairwise(ends)]


def attempt(
    name: str, run: Callable[[], dict[str, Any]], unavailable: dict[str, dict[str, str]]
) -> dict[str, Any]:
    """Return a measurement, or why a peer is unavailable, which is not tried again."""
    if name not in unavailable:
        try:
            return run()
        except Unavailable as reason:
            if name in (NATIVE, SCORING):
                raise
            unavailable[name] = {"unavailable": str(reason)}
    return unavailable[name]
