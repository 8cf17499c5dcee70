"""The time of a token as the context and the weights grow."""

import sys
from typing import Any

from checkpoints import PROMPTS, gguf_files
from processes import read_bandwidth
from speed import LLAMA_CPP, NATIVE, llama_cpp, native

CONTEXTS = ("256", "1024", "2048", "4096", "8000")
MODELS = {
    "Q4_0": "SmolLM2-135M",
    "random-4": "random weights, 4 layers of Llama 3.2 1B",
    "random-16": "random weights, 16 layers of Llama 3.2 1B",
}
ANSWER = 24


def measure(threads: int) -> dict[str, Any]:
    """Measure each model with each engine, and the first one by context length."""
    files, found = gguf_files(), {"bandwidth": read_bandwidth(threads)}
    options = ("--prompts", PROMPTS, "--answer", str(ANSWER), "--lengths")
    for name, title in MODELS.items():
        for entrant in (native(files[name], name), llama_cpp(files[name], name)):
            print(f"Growth, {entrant.engine}, {title} …", file=sys.stderr)
            found[entrant.name] = entrant.run(*options, "10", threads=threads)
    for entrant in (native(files["Q4_0"], "contexts"), llama_cpp(files["Q4_0"], "contexts")):
        print(f"Growth, {entrant.engine}, contexts …", file=sys.stderr)
        found[entrant.name] = entrant.run(*options, *CONTEXTS, "--context", "8192", threads=threads)
    return found


def report(results: dict[str, Any]) -> list[str]:
    """Return a table by context and one by weights."""
    lines = [
        f"4 bits (Q4_0), one process each; medians of {ANSWER - 1} tokens, ms per token.",
        "",
        f"| engine | {' | '.join(f'after {int(it):,} tokens' for it in CONTEXTS)} |",
        "| --- |" + " ---: |" * len(CONTEXTS),
    ]
    for engine in (NATIVE, LLAMA_CPP):
        seconds = results[f"{engine} contexts"]["token_s"]
        lines.append(f"| {engine} | {' | '.join(f'{seconds[it] * 1e3:.1f}' for it in CONTEXTS)} |")
    lines += [
        "",
        "| model | weights, MB | native | llama.cpp | llama.cpp / native | native, of the bandwidth |",
        "| --- |" + " ---: |" * 5,
    ]
    for name, title in MODELS.items():
        own, peer = (results[f"{engine} {name}"]["token_s"]["10"] for engine in (NATIVE, LLAMA_CPP))
        size = results[f"{NATIVE} {name}"]["weight_bytes"]
        cells = [title, f"{size / 1e6:.0f}", f"{own * 1e3:.1f}", f"{peer * 1e3:.1f}", f"{peer / own:.2f}"]
        cells.append(f"{size / own / results['bandwidth']:.0%}")
        lines.append(f"| {' | '.join(cells)} |")
    return lines
