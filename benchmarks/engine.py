"""The engine of one LLM: requests that join and leave a batch, threads, long prompts, shared prefixes."""

import sys
from statistics import median
from typing import Any

from checkpoints import gguf_files
from processes import run_worker

FORMAT = "Q4_1"


def measure(threads: int) -> dict[str, Any]:
    """Measure everything in one process."""
    print("Engine …", file=sys.stderr)
    return run_worker(sys.executable, "engine", gguf_files()[FORMAT], threads=threads)


def report(results: dict[str, Any]) -> list[str]:
    """Return a row for each goal."""
    mixed, threads, prefix = results["mixed"], results["threads"], results["prefix"]
    alone, during = (median(results["long_prompt"][name]) for name in ("alone_s", "during_s"))
    rows = [
        (
            "256 prompts of 8 to 400 tokens, answers of 8 to 200: tokens/s, relative to equal ones",
            "≥ 85%",
            f"{mixed['mixed'] / mixed['equal']:.0%} ({mixed['mixed']:.0f} / {mixed['equal']:.0f})",
            mixed["mixed"] >= 0.85 * mixed["equal"],
        ),
        (
            "16 threads with a prompt each: speed, relative to a list of 16",
            "≥ 90%",
            f"{threads['list_s'] / threads['threads_s']:.0%}",
            threads["list_s"] >= 0.9 * threads["threads_s"],
        ),
        (
            "time between two tokens while a prompt of 4,000 tokens comes in, relative to the usual",
            "≤ 3.0",
            f"{during / alone:.1f} ({during * 1e3:.0f} / {alone * 1e3:.0f} ms)",
            during <= 3 * alone,
        ),
        (
            "64 prompts with a common beginning of 1,000 tokens, relative to others",
            "≥ 8.0",
            f"{prefix['other_s'] / prefix['shared_s']:.1f}",
            prefix["other_s"] >= 8 * prefix["shared_s"],
        ),
    ]
    return [
        f"{FORMAT}, greedy, in one process. Tokens are those of prompts and answers.",
        "",
        "| native engine | goal | measured | reached |",
        "| --- | ---: | ---: | :---: |",
        *(f"| {what} | {goal} | {seen} | {'yes' if held else '**no**'} |" for what, goal, seen, held in rows),
    ]
