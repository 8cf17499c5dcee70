"""The log-probabilities of sampled tokens, for the sequences whose requests have them."""

from collections.abc import Mapping, Sequence
from typing import Any

from litgpt.domain.scheduling.model_runner import ModelRunner
from litgpt.domain.scheduling.sequence import ScheduledSequence


def log_probabilities(
    runner: ModelRunner[Any],
    logits: Any,
    rows: Sequence[int],
    tokens: Sequence[int],
    sequences: Sequence[ScheduledSequence],
) -> tuple[Sequence[float | None], Sequence[Mapping[int, float] | None]]:
    """Return those of the tokens that were sampled from rows of logits, and those of the likeliest tokens.

    They are computed for all rows or for none.
    """
    logprobs: Sequence[float | None] = [None] * len(rows)
    top_logprobs: Sequence[Mapping[int, float] | None] = [None] * len(rows)
    if any(it.request.logprobs for it in sequences):
        logprobs = runner.log_probabilities(logits, rows, tokens)
    counts = [it.request.top_logprobs for it in sequences]
    if any(counts):
        top_logprobs = runner.top_log_probabilities(logits, rows, counts)
    return logprobs, top_logprobs
