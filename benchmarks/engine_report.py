"""The report of the engine: a row for each goal."""

from collections.abc import Callable, Iterable
from statistics import fmean, median
from typing import Any

NATIVE, LLAMA_SERVER, TRANSFORMERS = "native", "llama.cpp's server", "transformers"
SCORING, LM_EVAL = "scoring", "lm-eval"
"""The contestants of a round."""

Row = tuple[str, str, str, bool | None]
"""What was measured, the goal, the result, and whether the goal is reached; None: a peer is unavailable."""

MARKS = {True: "yes", False: "**no**", None: ""}

MOST_OTHER_CHOICES = 0.01
"""In bf16, two endings may be tied: the accuracies are the same if they differ by at most this."""


def report(results: dict[str, Any]) -> list[str]:
    """Return the report."""
    rows = [*own(results), *options(results), *peers(results)]
    return [
        (
            f"{results['format']}, greedy. Tokens are those of prompts and answers. Peers take turns with "
            f"this library in {len(results['rounds'])} rounds, each with its own part of the prompts and "
            "rows; each measurement is a process of its own, without the time to load."
        ),
        "",
        "| native engine | goal | measured | reached |",
        "| --- | ---: | ---: | :---: |",
        *(f"| {what} | {goal} | {seen} | {MARKS[held]} |" for what, goal, seen, held in rows),
    ]


def own(results: dict[str, Any]) -> Iterable[Row]:
    """Return the rows of this library by itself."""
    mixed, threads, prefix = results["mixed"], results["threads"], results["prefix"]
    # The mean, because the time between tokens alternates while the prompt comes in.
    alone, during = median(results["long_prompt"]["alone_s"]), fmean(results["long_prompt"]["during_s"])
    yield (
        "256 prompts of 8 to 400 tokens, answers of 8 to 200: tokens/s, relative to equal ones",
        "≥ 85%",
        f"{mixed['mixed'] / mixed['equal']:.0%} ({mixed['mixed']:.0f} / {mixed['equal']:.0f})",
        mixed["mixed"] >= 0.85 * mixed["equal"],
    )
    yield (
        "16 threads with a prompt each: speed, relative to a list of 16",
        "≥ 90%",
        f"{threads['list_s'] / threads['threads_s']:.0%}",
        threads["list_s"] >= 0.9 * threads["threads_s"],
    )
    yield (
        "mean time between two tokens while a prompt of 4,000 tokens comes in, relative to the usual",
        "≤ 3.0",
        f"{during / alone:.1f} ({during * 1e3:.0f} / {alone * 1e3:.0f} ms)",
        during <= 3 * alone,
    )
    yield (
        "64 prompts with a common beginning of 1,000 tokens, relative to others",
        "≥ 8.0",
        f"{prefix['other_s'] / prefix['shared_s']:.1f}",
        prefix["other_s"] >= 8 * prefix["shared_s"],
    )


def options(results: dict[str, Any]) -> Iterable[Row]:
    """Return the rows of the options of requests."""
    cost = median(on / off for on, off in _pairs(results["schema"]))
    yield "16 answers in JSON of a schema: time, relative to no schema", "≤ 1.10", f"{cost:.2f}", cost <= 1.1
    for name, what, goal in (
        ("repeated", "drafts from the prompt, in an answer that repeats it", 1.8),
        ("other", "… in other answers", 0.97),
    ):
        gain = median(off / on for on, off in _pairs(results[name]))
        yield f"{what}: speed, relative to none", f"≥ {goal:.2f}", f"{gain:.2f}", gain >= goal
    samplers = results["samplers"]
    share = median(1 - off / on for on, off in _pairs(samplers))
    step = median(samplers["on"]) / samplers["steps"]
    yield (
        f"all samplers, 32 answers, {samplers['vocab_size']:,} tokens, 24 layers: share of a step",
        "≤ 10%",
        f"{share:.0%} (of {step * 1e3:.0f} ms)",
        share <= 0.1,
    )


def _pairs(seconds: dict[str, list[float]]) -> Iterable[tuple[float, float]]:
    return zip(seconds["on"], seconds["off"], strict=True)


def peers(results: dict[str, Any]) -> Iterable[Row]:
    """Return the rows of the comparisons."""
    dtype = "bf16" if results["dtype"] == "bfloat16" else results["dtype"]
    slow = results["slow_requests"]
    yield _ratio(
        results,
        (NATIVE, LLAMA_SERVER),
        f"{results['requests']} of these prompts / llama.cpp's server, 16 slots, the same file: tokens/s",
        2.5,
        lambda own, peer: own["tokens_per_s"] / peer["tokens_per_s"],
    )
    yield _ratio(
        results,
        (NATIVE, TRANSFORMERS),
        f"… / transformers' continuous batching in {dtype}, {slow} of the prompts: tokens/s",
        4.0,
        lambda own, peer: own["tokens_per_s"] / peer["tokens_per_s"],
    )
    yield _ratio(
        results,
        (SCORING, LM_EVAL),
        f"4 endings of {results['rows']} rows of HellaSwag, bf16 / lm-eval's HFLM in {dtype}: speed",
        3.0,
        lambda own, peer: peer["seconds"] / own["seconds"],
    )
    yield _same_accuracy(results)


def _ratio(
    results: dict[str, Any],
    names: tuple[str, str],
    what: str,
    goal: float,
    compare: Callable[[dict[str, Any], dict[str, Any]], float],
) -> Row:
    """Return a row for the median of the ratios within rounds."""
    pairs = [(it[names[0]], it[names[1]]) for it in results["rounds"]]
    if missing := _reason(results, names[1]):
        return what, f"≥ {goal:.1f}", missing, None
    ratio = median(compare(*pair) for pair in pairs)
    rates = ""
    if "tokens_per_s" in pairs[0][0]:
        own, peer = (median(pair[at]["tokens_per_s"] for pair in pairs) for at in (0, 1))
        rates = f" ({own:.0f} / {peer:.0f})"
    return what, f"≥ {goal:.1f}", f"{ratio:.2f}{rates}", ratio >= goal


def _same_accuracy(results: dict[str, Any]) -> Row:
    what, goal = "… accuracy, and that of lm-eval", f"± {MOST_OTHER_CHOICES:.0%}"
    if missing := _reason(results, LM_EVAL):
        return what, goal, missing, None
    own, peer = (_accuracy(results["rounds"], name) for name in (SCORING, LM_EVAL))
    same = abs(own - peer) <= MOST_OTHER_CHOICES + 1e-9
    return what, goal, f"{own:.1%} / {peer:.1%}", same


def _accuracy(rounds: list[dict[str, Any]], name: str) -> float:
    """Return the share of rows whose likeliest ending is the right one, as lm-eval's `acc`."""
    right = [
        max(range(len(row)), key=row.__getitem__) == label
        for it in rounds
        for row, label in zip(it[name]["logprobs"], it[SCORING]["labels"], strict=True)
    ]
    return sum(right) / len(right)


def _reason(results: dict[str, Any], name: str) -> str:
    return next(
        (f"unavailable: {it[name]['unavailable']}" for it in results["rounds"] if "unavailable" in it[name]),
        "",
    )
