"""Turn measurements into a table of medians and ratios, and into BENCHMARKS.md."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from machine import describe

Results = list[dict[str, dict[str, Any]]]
"""For each round, for each library, what it measured."""

BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"
MB = 1e6

ROWS: tuple[tuple[str, Callable[[dict[str, Any]], float], str, bool], ...] = (
    ("import, s", lambda one: one["import_s"], ".2f", False),
    ("load the first time in a process, s", lambda one: one["first_load_s"], ".2f", False),
    ("load, imports apart, s", lambda one: one["load_s"], ".2f", False),
    ("first token of all, 10-token prompt, ms", lambda one: one["cold_first_token_s"] * 1e3, ".0f", False),
    ("first token, 10-token prompt, ms", lambda one: one["first_token_10_s"] * 1e3, ".0f", False),
    ("first token, 512-token prompt, ms", lambda one: one["first_token_512_s"] * 1e3, ".0f", False),
    ("prefill of 512 tokens, tokens/s", lambda one: one["prefill_tokens_per_s"], ".0f", True),
    ("decode, tokens/s", lambda one: one["decode_tokens_per_s"], ".1f", True),
    ("peak memory, MB", lambda one: one["peak_bytes"] / MB, ".0f", False),
    (
        "… above importing the library, MB",
        lambda one: (one["peak_bytes"] - one["imported_bytes"]) / MB,
        ".0f",
        False,
    ),
    ("… above importing torch, MB", lambda one: (one["peak_bytes"] - one["torch_bytes"]) / MB, ".0f", False),
)
"""What it is called, how it is read, how it is written, and whether more is better."""

PEERS = ("transformers", "litgpt")


def times_better(
    results: Results, read: Callable[[dict[str, Any]], float], peer: str, *, more: bool
) -> float:
    """Return the factor by which this library is better, as the median of the rounds."""
    pairs = [(read(one["this library"]), read(one[peer])) for one in results]
    return median(actual / reference if more else reference / actual for actual, reference in pairs)


def table(results: Results) -> list[str]:
    """Return the rows of the table that sets the libraries side by side."""
    first = results[0]
    names = {name: f"{first[name]['package']} {first[name]['version']}" for name in ("this library", *PEERS)}
    heads = ["", f"**{names['actual']}** (this library)", names["transformers"], names["litgpt"]]
    heads += ["against transformers", "against LitGPT"]
    lines = [f"| {' | '.join(heads)} |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for title, read, form, more in ROWS:
        cells = [
            format(median(read(one[name]) for one in results), form) for name in ("this library", *PEERS)
        ]
        cells += [f"{times_better(results, read, peer, more=more):.2f} x" for peer in PEERS]
        lines.append(f"| {' | '.join([title, *cells])} |")
    return lines


def promises(results: Results, bf16_bytes: int) -> list[str]:
    """Return what this library holds itself to, and whether it did."""

    def middle(name: str, read: Callable[[dict[str, Any]], float]) -> float:
        return median(read(one[name]) for one in results)

    decode = min(
        times_better(results, lambda one: one["decode_tokens_per_s"], peer, more=True) for peer in PEERS
    )
    load = times_better(results, lambda one: one["load_s"], "transformers", more=False)
    gguf_s = middle("gguf", lambda one: one["load_s"])
    gguf_peak = middle("gguf", lambda one: one["loaded_bytes"] - one["torch_bytes"]) / bf16_bytes
    help_ = median(one["start"]["help_s"] / one["start"]["import_torch_s"] for one in results)
    held: tuple[tuple[str, str, bool], ...] = (
        ("decodes at least twice as fast as either", f"{decode:.2f} x", decode >= 2),
        ("opens a bf16 folder no slower than transformers", f"{load:.2f} x as fast", load >= 1),
        ("loads the 4-bit GGUF, dequantized to bf16, within 0.6 s", f"{gguf_s:.2f} s", gguf_s <= 0.6),
        (
            "… and with a peak of at most 1.4 times the bf16 bytes above importing torch",
            f"{gguf_peak:.2f} times",
            gguf_peak <= 1.4,
        ),
        (
            "`litgpt --help` in under a quarter of the time of `import torch`",
            f"{help_:.2f} of it",
            help_ < 0.25,
        ),
    )
    lines = ["| this library … | measured | held |", "| --- | ---: | :---: |"]
    return lines + [f"| {what} | {found} | {'yes' if kept else '**no**'} |" for what, found, kept in held]


def agreement(results: Results) -> str:
    """Say how far the greedy answers agree, so that nobody is fast at another task."""
    actual = results[0]["this library"]["answer"]

    def shared(reference: list[int]) -> int:
        pairs = enumerate(zip(actual, reference, strict=True))
        return next((at for at, (one, other) in pairs if one != other), len(actual))

    said = [f"{shared(results[0][peer]['answer'])} with {results[0][peer]['package']}" for peer in PEERS]
    return (
        f"Of {len(actual)} tokens generated greedily, the first {' and '.join(said)} are the same. "
        "In bf16 the two likeliest tokens are often tied, and the texts differ after a tie."
    )


def write(results: Results, file: Path, *, threads: int, bf16_bytes: int, busy: float | None) -> None:
    """Print the report, and put it between the markers in `file`."""
    others = "" if busy is None else f" The load average before it began was {busy:.1f}."
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}. {describe()}; torch {results[0]['actual']['torch']}.{others}",
        (
            f"SmolLM2-135M-Instruct, bf16, batch 1, greedy, {threads} threads, warm page cache; medians of "
            f"{len(results)} round(s), in each of which every library ran in processes of its own, in turns. "
            "A process generates several times, and the best of them counts."
        ),
        "A ratio above 1 is in this library's favour.",
        "",
        *table(results),
        "",
        agreement(results),
        "",
        *promises(results, bf16_bytes),
    ]
    report = "\n".join(lines)
    print(report)
    before, _, rest = file.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    file.write_text(f"{before}{BEGIN}\n{report}\n{END}{after}", encoding="utf-8")
