"""Decoding on a busy machine: beside processes that never wait, one per thread."""

import sys
from statistics import median

from checkpoints import PROMPTS, gguf_files
from speed import LLAMA_CPP, NATIVE, Round, llama_cpp, native

FORMAT = "Q4_1"
ANSWER = 48
SHARE = 0.4
"""The part of the idle speed that is the goal."""


def measure(rounds: int, threads: int) -> list[Round]:
    """Let both engines take turns."""
    file = gguf_files()[FORMAT]
    options = ("--prompts", PROMPTS, "--answer", str(ANSWER), "--busy", str(threads))
    results = []
    for at in range(1, rounds + 1):
        print(f"Busy machine, round {at} of {rounds} …", file=sys.stderr)
        entrants = (native(file, FORMAT), llama_cpp(file, FORMAT))
        results.append({it.engine: it.run(*options, threads=threads) for it in entrants})
    return results


def report(results: list[Round]) -> list[str]:
    """Return a row for each engine, and whether the goal is reached."""
    lines = [
        "| engine | idle, tokens/s | busy, tokens/s | share | slowest token, ms |",
        "| --- |" + " ---: |" * 4,
    ]
    shares = {}
    for engine in (NATIVE, LLAMA_CPP):
        rounds = [it[engine] for it in results]
        idle, busy, slowest = (
            median(it[name] for it in rounds)
            for name in ("idle_tokens_per_s", "busy_tokens_per_s", "busy_slowest_s")
        )
        shares[engine] = median(it["busy_tokens_per_s"] / it["idle_tokens_per_s"] for it in rounds)
        lines.append(f"| {engine} | {idle:.1f} | {busy:.1f} | {shares[engine]:.0%} | {slowest * 1e3:.0f} |")
    held = shares[NATIVE] >= max(SHARE, shares[LLAMA_CPP])
    goal = f"at least {SHARE:.0%} of the idle speed, and no worse a share than llama.cpp"
    return [
        (
            f"{FORMAT}, {ANSWER} tokens alone and beside as many busy processes as threads, in the same "
            f"process; medians of {len(results)} round(s)."
        ),
        "",
        *lines,
        "",
        f"Goal: {goal}: {'reached' if held else '**not reached**'}.",
    ]
