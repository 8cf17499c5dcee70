"""The report of the peers: a table of medians and ratios."""

from collections.abc import Callable
from statistics import median
from typing import Any

Results = list[dict[str, dict[str, Any]]]
"""For each round, for each library, what it measured."""

MB = 1e6
BF16_BYTES = 269_030_016
"""The bytes of the weights of SmolLM2-135M in bf16."""

THIS, TRANSFORMERS, LITGPT, GGUF = "this library", "transformers", "litgpt", "gguf"
PEERS = (TRANSFORMERS, LITGPT)

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


def times_better(
    results: Results, read: Callable[[dict[str, Any]], float], peer: str, *, more: bool
) -> float:
    """Return the factor by which this library is better, as the median of the rounds."""
    pairs = [(read(one[THIS]), read(one[peer])) for one in results]
    return median(actual / reference if more else reference / actual for actual, reference in pairs)


def table(results: Results) -> list[str]:
    """Return the rows of the table that sets the libraries side by side."""
    first = results[0]
    names = {name: f"{first[name]['package']} {first[name]['version']}" for name in (THIS, *PEERS)}
    heads = ["", f"**{names[THIS]}** (this library)", names[TRANSFORMERS], names[LITGPT]]
    heads += ["against transformers", "against LitGPT"]
    lines = [f"| {' | '.join(heads)} |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for title, read, form, more in ROWS:
        cells = [format(median(read(one[name]) for one in results), form) for name in (THIS, *PEERS)]
        cells += [f"{times_better(results, read, peer, more=more):.2f} x" for peer in PEERS]
        lines.append(f"| {' | '.join([title, *cells])} |")
    return lines


def promises(results: Results) -> list[str]:
    """Return what this library holds itself to, and whether it did."""

    def middle(name: str, read: Callable[[dict[str, Any]], float]) -> float:
        return median(read(one[name]) for one in results)

    decode = min(
        times_better(results, lambda one: one["decode_tokens_per_s"], peer, more=True) for peer in PEERS
    )
    load = times_better(results, lambda one: one["load_s"], TRANSFORMERS, more=False)
    gguf_s = middle(GGUF, lambda one: one["load_s"])
    gguf_peak = middle(GGUF, lambda one: one["loaded_bytes"] - one["torch_bytes"]) / BF16_BYTES
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
    actual = results[0][THIS]["answer"]

    def shared(reference: list[int]) -> int:
        pairs = enumerate(zip(actual, reference, strict=True))
        return next((at for at, (one, other) in pairs if one != other), len(actual))

    said = [f"{shared(results[0][peer]['answer'])} with {results[0][peer]['package']}" for peer in PEERS]
    return (
        f"Of {len(actual)} tokens generated greedily, the first {' and '.join(said)} are the same. "
        "In bf16 the two likeliest tokens are often tied, and the texts differ after a tie."
    )


def report(results: Results) -> list[str]:
    """Return the report."""
    return [
        (
            f"SmolLM2-135M-Instruct, bf16, torch {results[0][THIS]['torch']}, batch 1, greedy, warm page "
            f"cache; medians of {len(results)} round(s), in each of which every library ran in processes of "
            "its own, in turns. A process generates several times, and the best of them counts."
        ),
        "A ratio above 1 is in this library's favor.",
        "",
        *table(results),
        "",
        agreement(results),
        "",
        *promises(results),
    ]
