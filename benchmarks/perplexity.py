"""Perplexity of each format in the native engine, beside the same weights in float32 in torch."""

import json
import sys
from typing import Any

from checkpoints import gguf_files, texts
from environments import BENCH
from processes import run_worker
from speed import FORMATS

TOKENS = 6144

LETTERS = 40_000
"""The part of each text that is encoded, which has more than `TOKENS` tokens."""

AT_MOST = {"Q4_1": 0.005, "Q4_0": 0.005, "Q8_0": 0.001, "BF16": 0.001, "F32": 0.001}
"""How far the perplexities may differ, as a part of the perplexity of torch."""


def measure(threads: int) -> dict[str, dict[str, Any]]:
    """Return by format the perplexities by engine and text; they are the same each time."""
    file, files = BENCH / "texts.json", gguf_files()
    file.write_text(json.dumps({name: text[:LETTERS] for name, text in texts().items()}), encoding="utf-8")
    found: dict[str, dict[str, Any]] = {}
    for name in FORMATS:
        print(f"Perplexity, {name} …", file=sys.stderr)
        for engine in ("native", "torch"):
            arguments = ("--engine", engine, "--texts", file, "--tokens", str(TOKENS))
            measured = run_worker(sys.executable, "perplexity", files[name], *arguments, threads=threads)
            found.setdefault(name, {})[engine] = measured
    return found


def report(results: dict[str, dict[str, Any]]) -> list[str]:
    """Return a row for each format."""
    names = list(next(iter(results.values()))["native"])
    heads = [
        "weights",
        *(f"{name}, {it}" for name in names for it in ("native", "torch float32", "difference")),
    ]
    lines = [
        f"| {' | '.join([*heads, 'goal', 'reached'])} |",
        "| --- |" + " ---: |" * len(heads) + " :---: |",
    ]
    for file_format, engines in results.items():
        cells, held = [FORMATS[file_format]], True
        for name in names:
            own, reference = engines["native"][name], engines["torch"][name]
            cells += [f"{own:.3f}", f"{reference:.3f}", f"{own / reference - 1:+.2%}"]
            held &= abs(own / reference - 1) <= AT_MOST[file_format]
        goal = [f"± {AT_MOST[file_format]:.1%}", "yes" if held else "**no**"]
        lines.append(f"| {' | '.join([*cells, *goal])} |")
    text = f"Perplexity over {TOKENS:,} tokens of each text, in windows of 512, of the same weights."
    return [text, "", *lines]
