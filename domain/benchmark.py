"""Benchmark results under LitGPT's names, and their table."""

import math
from collections.abc import Mapping, Sequence

import attrs

TOTAL_SECONDS = "Seconds total"
TIME_TO_FIRST_TOKEN = "Seconds to first token"  # noqa: S105 - not a password
TOKENS_GENERATED = "Tokens generated"
TOKENS_PER_SECOND = "Inference speed in tokens/sec"
GPU_MEMORY = "Total GPU memory allocated in GB"
PREFILL_SPEED = "Prefill speed in tokens/sec"
DECODE_SPEED = "Decode speed in tokens/sec"
CPU_MEMORY = "Peak memory of the process in GB"
DRAFT_TOKENS = "Tokens accepted from drafts"
BANDWIDTH_SHARE = "Memory bandwidth reached in percent"


@attrs.frozen(kw_only=True)
class BenchmarkResult:
    """One timed generation.

    Attributes:
        prompt_tokens: The total number of prompt tokens.
        completion_tokens: The total number of generated tokens.
        seconds: The time from the call to the last token.
        time_to_first_token: The time from the call to the first token, in seconds.
        decoded_tokens: The number of tokens after the first step.
        peak_bytes: The peak memory in bytes, by device.
    """

    prompt_tokens: int
    completion_tokens: int
    seconds: float
    time_to_first_token: float
    decoded_tokens: int
    peak_bytes: Mapping[str, int]

    def as_dict(self) -> dict[str, float]:
        """Return LitGPT's figures, followed by further figures of this library."""
        figures = {
            TOTAL_SECONDS: self.seconds,
            TIME_TO_FIRST_TOKEN: self.time_to_first_token,
            TOKENS_GENERATED: self.completion_tokens,
            TOKENS_PER_SECOND: _per_second(self.completion_tokens, self.seconds),
        }
        gpus = [used for device, used in self.peak_bytes.items() if device != "cpu"]
        if gpus:
            figures[GPU_MEMORY] = sum(gpus) / 1e9
        figures[PREFILL_SPEED] = _per_second(self.prompt_tokens, self.time_to_first_token)
        figures[DECODE_SPEED] = _per_second(self.decoded_tokens, self.seconds - self.time_to_first_token)
        if "cpu" in self.peak_bytes:
            figures[CPU_MEMORY] = self.peak_bytes["cpu"] / 1e9
        return figures


def benchmark_dict_to_markdown_table(benchmark: Mapping[str, Sequence[float]]) -> str:
    """Return a Markdown table of the mean and the sample standard deviation (ddof=1) of each figure.

    The table of a single iteration has no column for the standard deviation.

    Args:
        benchmark: The result of `LLM.benchmark`: lists of figures by name.
    """
    columns = [
        ("Metric", 35, list(benchmark)),
        ("Mean", 27, [_shown(_mean(values)) for values in benchmark.values()]),
    ]
    if any(len(values) > 1 for values in benchmark.values()):
        columns.append(("Std Dev", 27, [_shown(_std(values)) for values in benchmark.values()]))
    rows = [
        [f" {title:<{width}} " for title, width, _ in columns],
        ["-" * (width + 2) for _, width, _ in columns],
        *([f" {cells[row]:<{width}} " for _, width, cells in columns] for row in range(len(benchmark))),
    ]
    return "".join(f"|{'|'.join(row)}|\n" for row in rows)


def _shown(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"


def _per_second(count: int, seconds: float) -> float:
    return count / seconds if count and seconds > 0 else math.nan


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _std(values: Sequence[float]) -> float:
    if len(values) < 2:
        return math.nan
    mean = _mean(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
