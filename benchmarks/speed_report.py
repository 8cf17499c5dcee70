"""The report of the speed of the native engine: a row per contestant, and the goals."""

from collections.abc import Callable
from statistics import median

from machine import has_bf16_products
from speed import (
    ANSWER,
    BATCH_ANSWER,
    CONVERTING,
    FORMATS,
    LITGPT,
    LLAMA_CPP,
    NATIVE,
    OPENVINO,
    SLOW_ANSWER,
    TRANSFORMERS,
    Round,
)

MB = 1e6
PEERS = (LLAMA_CPP, TRANSFORMERS, LITGPT, *CONVERTING)

Read = Callable[[Round, str], float | None]
Figure = Callable[[Round], float | None]


def _field(name: str, factor: float = 1.0) -> Read:
    def read(measured: Round, contestant: str) -> float | None:
        value = measured[contestant].get(name)
        return None if value is None else value * factor

    return read


def _share(measured: Round, contestant: str) -> float | None:
    """Return the bytes of the weights that are read per second over the bandwidth of the same round.

    Those of weights in a format of the peer's own are not known.
    """
    speed, engine = measured[contestant].get("decode_tokens_per_s"), contestant.rpartition(" ")[0]
    if speed is None or (engine in CONVERTING and engine != OPENVINO):
        return None
    return float(_weight_bytes(measured, contestant) * speed / measured["bandwidth"]["bytes_per_s"])


def _weight_bytes(measured: Round, contestant: str) -> int:
    return int(measured[f"{NATIVE} {contestant.rpartition(' ')[2]}"]["weight_bytes"])


def _above_import(measured: Round, contestant: str) -> float | None:
    found = measured[contestant]
    return (found["peak_bytes"] - found["imported_bytes"]) / MB if "peak_bytes" in found else None


COLUMNS: tuple[tuple[str, Read, str], ...] = (
    ("load, s", _field("first_load_s"), ".2f"),
    ("first token, 10 tokens, ms", _field("first_token_10_s", 1e3), ".0f"),
    ("first token, 512 tokens, ms", _field("first_token_512_s", 1e3), ".0f"),
    ("decode, tokens/s", _field("decode_tokens_per_s"), ".1f"),
    ("… of the bandwidth", _share, ".0%"),
    ("32 prompts, tokens/s", _field("batch_tokens_per_s"), ".0f"),
    ("peak memory, MB", _field("peak_bytes", 1 / MB), ".0f"),
    ("… above the imported library, MB", _above_import, ".0f"),
)


def table(results: list[Round]) -> list[str]:
    """Return a row of medians for each contestant, those of a format together."""
    heads = ["weights", "engine", *(title for title, _, _ in COLUMNS)]
    lines = [f"| {' | '.join(heads)} |", "| --- | --- |" + " ---: |" * len(COLUMNS)]
    names = [name for name in results[0] if name != "bandwidth"]
    for file_format, title in FORMATS.items():
        limits = [
            it["bandwidth"]["bytes_per_s"] / _weight_bytes(it, f"{NATIVE} {file_format}") for it in results
        ]
        empty = [""] * (len(COLUMNS) - 4)
        cells = [title, "limit of the bandwidth", "", "", "", f"{median(limits):.1f}", *empty]
        lines.append(f"| {' | '.join(cells)} |")
        for name in names:
            if name.endswith(f" {file_format}"):
                engine = name.rpartition(" ")[0]
                shown = f"**{engine}**" if engine == NATIVE else engine + _reason(results, name)
                cells = [_cell(results, name, read, form) for _, read, form in COLUMNS]
                lines.append(f"| | {shown} | {' | '.join(cells)} |")
    return lines


def _reason(results: list[Round], name: str) -> str:
    reasons = [it[name]["unavailable"] for it in results if "unavailable" in it[name]]
    return f" (unavailable: {reasons[0].replace('|', chr(92) + '|')})" if reasons else ""


def _cell(results: list[Round], name: str, read: Read, form: str) -> str:
    values = [value for it in results if (value := read(it, name)) is not None]
    return format(median(values), form) if values else ""


OWN, SAME_FILE = f"{NATIVE} Q4_1", f"{LLAMA_CPP} Q4_1"
SPEED, BATCH, PROMPT_10, PROMPT_512 = (
    "decode_tokens_per_s",
    "batch_tokens_per_s",
    "first_token_10_s",
    "first_token_512_s",
)


def _ratio(field: str, own: str, *peers: str, best: Callable[[list[float]], float] = max) -> Figure:
    """Return own / the best of the contestants whose names begin so."""

    def ratio(measured: Round) -> float | None:
        found = [it[field] for name, it in measured.items() if name.startswith(peers) and field in it]
        return float(measured[own][field] / best(found)) if found else None

    return ratio


def _worst_share(measured: Round) -> float:
    shares = (_share(measured, f"{NATIVE} {name}") for name in FORMATS)
    return min(share for share in shares if share is not None)


def _memory_ratio(measured: Round) -> float:
    found = measured[OWN]
    return float((found["peak_bytes"] - found["imported_bytes"]) / found["weight_bytes"])


GOALS: tuple[tuple[str, Figure, str, str, tuple[float, float]], ...] = (
    ("decode, 4 bits / llama.cpp, the same file", _ratio(SPEED, OWN, SAME_FILE), ".2f", "≥", (2.5, 1.7)),
    ("… / the best 4 bits of llama.cpp", _ratio(SPEED, OWN, f"{LLAMA_CPP} Q4"), ".2f", "≥", (1.8, 1.3)),
    ("… / transformers and LitGPT", _ratio(SPEED, OWN, TRANSFORMERS, LITGPT), ".1f", "≥", (12, 10)),
    (
        "decode, 8 bits / llama.cpp",
        _ratio(SPEED, f"{NATIVE} Q8_0", f"{LLAMA_CPP} Q8_0"),
        ".2f",
        "≥",
        (1.8, 1.4),
    ),
    (
        "decode, bf16 / llama.cpp",
        _ratio(SPEED, f"{NATIVE} BF16", f"{LLAMA_CPP} BF16"),
        ".2f",
        "≥",
        (1.3, 1.2),
    ),
    ("decode, worst format, of the bandwidth", _worst_share, ".0%", "≥", (0.85, 0.80)),
    ("32 prompts, 4 bits / llama.cpp, the same file", _ratio(BATCH, OWN, SAME_FILE), ".2f", "≥", (2.5, 2)),
    ("… / the best peer", _ratio(BATCH, OWN, *PEERS), ".2f", "≥", (2.5, 2)),
    (
        "first token, 10 tokens / the best peer",
        _ratio(PROMPT_10, OWN, *PEERS, best=min),
        ".2f",
        "≤",
        (0.5, 0.6),
    ),
    (
        "first token, 512 tokens / the best peer",
        _ratio(PROMPT_512, OWN, *PEERS, best=min),
        ".2f",
        "≤",
        (0.5, 0.6),
    ),
    ("load, s", lambda it: float(it[OWN]["first_load_s"]), ".2f", "≤", (0.2, 0.2)),
    ("peak memory above the imported library / weights", _memory_ratio, ".2f", "≤", (1.15, 1.15)),
    ("peak memory / llama.cpp, the same file", _ratio("peak_bytes", OWN, SAME_FILE), ".2f", "≤", (1, 1)),
)
"""What is measured, its figure in a round, its format, and the goal with AVX-512 (VNNI, BF16) and without."""


def goals(results: list[Round]) -> list[str]:
    """Return the goals of this kind of processor, the medians of the rounds, and whether they are reached."""
    lines = ["| native engine | goal | measured | reached |", "| --- | ---: | ---: | :---: |"]
    for title, read, form, sign, by_processor in GOALS:
        goal = by_processor[0 if has_bf16_products() else 1]
        cells = [title, f"{sign} {goal:{form}}", "", ""]
        if figures := [figure for it in results if (figure := read(it)) is not None]:
            figure = median(figures)
            reached = figure >= goal if sign == "≥" else figure <= goal
            cells[2:] = [f"{figure:{form}}", "yes" if reached else "**no**"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def agreement(results: list[Round]) -> str:
    """Return how far the greedy answers agree with those of llama.cpp, so that nobody computes less."""
    found = []
    for file_format in FORMATS:
        own, peer = (results[0].get(f"{engine} {file_format}") for engine in (NATIVE, LLAMA_CPP))
        if own is not None and peer is not None and "answer" in peer:
            pairs = enumerate(zip(own["answer"], peer["answer"], strict=True))
            shared = next((at for at, (one, other) in pairs if one != other), ANSWER)
            found.append(f"{shared} in {file_format}")
    return (
        f"Of {ANSWER} tokens generated greedily, the native engine and llama.cpp agree on the first: "
        f"{', '.join(found)}. Texts part where two tokens are almost equally likely."
    )


def versions(results: list[Round]) -> str:
    """Return the versions of the libraries."""
    names = {f"{it['package']} {it['version']}" for it in results[0].values() if "package" in it}
    torch = {f"torch {it['torch']}" for it in results[0].values() if "torch" in it}
    return ", ".join(sorted(names | torch))


def report(results: list[Round]) -> list[str]:
    """Return the report."""
    bandwidth = median(it["bandwidth"]["bytes_per_s"] for it in results) / 1e9
    return [
        (
            f"SmolLM2-135M-Instruct, batch 1, greedy, {ANSWER} tokens ({SLOW_ANSWER} with torch), streamed "
            f"through Python, warm page cache; medians of {len(results)} round(s), in each of which every "
            f"contestant ran in a process of its own, in turns. Reading memory: {bandwidth:.1f} GB/s. 32 "
            f"prompts of 10 tokens get {BATCH_ANSWER} new tokens each, and the time includes prefill; LitGPT "
            f"has no batches, and those of the torch engine are not measured. OpenVINO reads the weights of "
            f"the GGUF file; onnxruntime-genai (groups of 32 weights; with 4 bits, 8 for the head) and "
            f"CTranslate2 (a scale for each row) quantize the bf16 weights. {versions(results)}."
        ),
        "",
        *table(results),
        "",
        agreement(results),
        "",
        *goals(results),
    ]
