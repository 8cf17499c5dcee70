"""`litgpt serve` with many clients, beside llama.cpp's server with the same file, and beside the library."""

import sys
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from checkpoints import gguf_files
from engine import attempt, parts
from engine_report import LLAMA_SERVER, MARKS, NATIVE, Row
from llama_server import llama_server
from processes import run_worker

FORMAT = "Q4_1"
LIBRARY = "library"


def measure(threads: int) -> dict[str, Any]:
    """Measure everything, each in a process of its own; the servers and the library take turns."""
    print("Server …", file=sys.stderr)
    file = gguf_files()[FORMAT]
    unavailable: dict[str, dict[str, str]] = {}
    program = attempt(LLAMA_SERVER, lambda: {"program": llama_server()}, unavailable)
    rounds = []
    for part in parts(128):
        run = partial(_worker, file, part, threads)
        rounds.append(
            {
                NATIVE: run(),
                LLAMA_SERVER: attempt(
                    LLAMA_SERVER,
                    lambda run=run: run("--llama-server", program["program"]),  # type: ignore[misc]
                    unavailable,
                ),
                LIBRARY: run("--library"),
            }
        )
    overload = _worker(file, range(1), threads, "--overload")
    return {"format": FORMAT, "rounds": rounds, "overload": overload}


def _worker(file: Path, part: range, threads: int, *arguments: str | Path) -> dict[str, Any]:
    bounds = ("--part", str(part.start), str(part.stop))
    return run_worker(sys.executable, "server", file, *bounds, *arguments, threads=threads)


def report(results: dict[str, Any]) -> list[str]:
    """Return the report."""
    return [
        (
            f"{results['format']}, greedy, 64 clients on the same cores that stream their answers; tokens "
            f"are those of answers. The contestants take turns in {len(results['rounds'])} rounds, each with "
            "its own part of the prompts; llama.cpp's server has 16 slots."
        ),
        "",
        "| litgpt serve | goal | measured | reached |",
        "| --- | ---: | ---: | :---: |",
        *(f"| {what} | {goal} | {seen} | {MARKS[held]} |" for what, goal, seen, held in _rows(results)),
    ]


def _rows(results: dict[str, Any]) -> list[Row]:
    rounds, overload = results["rounds"], results["overload"]
    cost = 1 - _ratio(rounds, LIBRARY, "tokens_per_s")
    rows: list[Row] = [
        ("tokens/s lost to HTTP, relative to the library", "≤ 5%", f"{cost:.1%}", cost <= 0.05),
        (
            "twice as many requests at once as run and wait: answered, refused with 429, lost",
            "none lost",
            _statuses(overload["statuses"]),
            set(overload["statuses"]) <= {"200", "429"},
        ),
    ]
    reason = next((it[LLAMA_SERVER].get("unavailable") for it in rounds), None)
    if reason is not None:
        return [*rows, ("relative to llama.cpp's server", "≥ 2", reason, None)]
    speed, first = _ratio(rounds, LLAMA_SERVER, "tokens_per_s"), _ratio(rounds, LLAMA_SERVER, "first_s")
    return [
        ("tokens/s, relative to llama.cpp's server", "≥ 2", f"{speed:.2f}", speed >= 2),
        ("median time to the first token, relative to it", "≤ 0.5", f"{first:.2f}", first <= 0.5),
        *rows,
    ]


def _ratio(rounds: list[dict[str, Any]], peer: str, figure: str) -> float:
    return median(it[NATIVE][figure] / it[peer][figure] for it in rounds)


def _statuses(counts: dict[str, int]) -> str:
    lost = sum(count for status, count in counts.items() if status not in ("200", "429"))
    return f"{counts.get('200', 0)}, {counts.get('429', 0)}, {lost}"
