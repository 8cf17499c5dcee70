"""Speed, memory and quality beside other libraries, in one run; the reports go into BENCHMARKS.md.

    make bench                                        or: python benchmarks/bench.py
    make bench ARGS="--only speed busy --rounds 3"

The parts: `peers` is this library at its defaults beside transformers and LitGPT; `speed` is the native
engine beside these, llama.cpp, onnxruntime-genai, OpenVINO and CTranslate2; `busy`, `growth` and `perplexity`
are the native engine beside llama.cpp or torch; `engine` is the native engine with many requests, beside
llama.cpp's server, transformers' continuous batching and lm-eval; `server` is `litgpt serve` with many
clients beside llama.cpp's server. Single measurements are stored in
`.bench/`. The first run installs the peers and compiles llama.cpp, which takes minutes. A part whose peer is
unavailable is left out.
"""

import sys
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

import busy
import engine
import growth
import peers
import peers_report
import perplexity
import server
import speed
import speed_report
from blocks import draw, publish, store
from environments import Unavailable
from machine import load

Part = tuple[Callable[[int, int], Any], Callable[[Any], list[str]]]

PARTS: dict[str, Part] = {
    "peers": (peers.measure, peers_report.report),
    "speed": (speed.measure, speed_report.report),
    "busy": (busy.measure, busy.report),
    "growth": (lambda _, threads: growth.measure(threads), growth.report),
    "engine": (lambda _, threads: engine.measure(threads), engine.report),
    "server": (lambda _, threads: server.measure(threads), server.report),
    "perplexity": (lambda _, threads: perplexity.measure(threads), perplexity.report),
}
"""What measures a part, from the numbers of rounds and of threads, and what reports it."""

PLOTS = {"speed": "Decode speed by format and engine", "growth": "Time of a token by context length"}
"""The parts with a plot, and what it shows."""


def main() -> None:
    """Measure, print and write."""
    parser = ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--rounds", type=int, default=5, help="of the parts in which contestants take turns")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    before = load()
    if before is not None and before > 0.5:
        print(f"Other processes are computing (load average {before:.1f}).", file=sys.stderr)
    for part in arguments.only:
        measure, report = PARTS[part]
        try:
            results = measure(arguments.rounds, arguments.threads)
        except Unavailable as reason:
            print(f"Without {part}: {reason}", file=sys.stderr)
            continue
        store(part, results)
        lines = report(results)
        if part in PLOTS:
            lines += ["", draw(part, PLOTS[part])]
        publish(part, lines, threads=arguments.threads, load=before)


if __name__ == "__main__":
    main()
