"""The figures of a benchmark, under LitGPT's names, and the table that shows them."""

import math
from collections.abc import Mapping, Sequence

import attrs

TOTAL = "Seconds total"
FIRST = "Seconds to first token"
TOKENS = "Tokens generated"
SPEED = "Inference speed in tokens/sec"
GPU_MEMORY = "Total GPU memory allocated in GB"
PREFILL = "Prefill speed in tokens/sec"
DECODE = "Decode speed in tokens/sec"
CPU_MEMORY = "Peak memory of the process in GB"


@attrs.frozen(kw_only=True)
class Measurement:
    """One timed generation.

    Attributes:
        prompt_tokens: The tokens of all prompts together.
        tokens: The tokens of all answers together, as they came out of the model.
        seconds: From the call to the last token.
        seconds_to_first: From the call to the first token.
        tokens_after_first: How many tokens came later than the first step's.
        peak_bytes: The most memory in use, by device.

    """

    prompt_tokens: int
    tokens: int
    seconds: float
    seconds_to_first: float
    tokens_after_first: int
    peak_bytes: Mapping[str, int]

    def as_dict(self) -> dict[str, float]:
        """Return the figures under LitGPT's names, then our own."""
        figures = {
            TOTAL: self.seconds,
            FIRST: self.seconds_to_first,
            TOKENS: self.tokens,
            SPEED: _rate(self.tokens, self.seconds),
        }
        gpus = [used for device, used in self.peak_bytes.items() if device != "cpu"]
        if gpus:
            figures[GPU_MEMORY] = sum(gpus) / 1e9
        figures[PREFILL] = _rate(self.prompt_tokens, self.seconds_to_first)
        figures[DECODE] = _rate(self.tokens_after_first, self.seconds - self.seconds_to_first)
        if "cpu" in self.peak_bytes:
            figures[CPU_MEMORY] = self.peak_bytes["cpu"] / 1e9
        return figures


def benchmark_dict_to_markdown_table(benchmark: Mapping[str, Sequence[float]]) -> str:
    """Return the mean and the sample standard deviation (ddof=1) of each figure, as a table.

    After a single iteration there is no deviation, and no column for it.

    Args:
        benchmark: The result of `LLM.benchmark`: lists of figures by name.

    """
    columns = [
        ("Metric", 35, list(benchmark)),
        ("Mean", 27, [_shown(_mean(one)) for one in benchmark.values()]),
    ]
    if any(len(values) > 1 for values in benchmark.values()):
        columns.append(("Std Dev", 27, [_shown(_deviation(values)) for values in benchmark.values()]))
    rows = [
        [f" {title:<{width}} " for title, width, _ in columns],
        ["-" * (width + 2) for _, width, _ in columns],
        *([f" {cells[row]:<{width}} " for _, width, cells in columns] for row in range(len(benchmark))),
    ]
    return "".join(f"|{'|'.join(row)}|\n" for row in rows)


def _shown(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _rate(count: int, seconds: float) -> float:
    return count / seconds if count and seconds > 0 else math.nan


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _deviation(values: Sequence[float]) -> float:
    if len(values) < 2:
        return math.nan
    mean = _mean(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
