"""Apply the parameters that change logits (`logit_bias`, penalties, …) with numpy, in place."""

# B rows, V vocabulary, N changed logits

from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from litgpt.adapters.native.sampling.candidates import Logits
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.generation.logit_edits import LogitEdits, LogitEntries
from litgpt.domain.generation.sampler_state import SamplerState
from litgpt.domain.generation.token_history import TokenHistory


@contextmanager
def edited(logits: Logits, states: Sequence[SamplerState]) -> Iterator[bool]:
    """Change `logits` (B, V), within a context, as the parameters require; yield whether they changed.

    They are restored afterwards, which takes less time than a copy of all logits: log-probabilities are those
    of the unchanged logits.
    """
    edits = LogitEdits.of_batch(states, logits.shape[-1])
    if edits is None:
        yield False
        return
    editor = _Editor(logits)
    try:
        editor.apply(edits)
        yield True
    finally:
        editor.restore()


class _Editor:
    def __init__(self, logits: Logits) -> None:
        self._logits = logits
        self._saved: list[tuple[Any, Logits]] = []

    def apply(self, edits: LogitEdits) -> None:
        self._add(edits.bias)
        for row, allowed in edits.allowed.items():
            kept = self._logits[row, allowed]
            self._set_row(row, -np.inf)
            self._logits[row, allowed] = kept
        self._add(edits.bad_words)
        self._apply_repetition(edits.repetition)
        for penalties in edits.penalties:
            self._add(penalties)
        self._add(edits.min_tokens)
        for row, history in edits.processors.items():
            self._set_row(row, _process(self._logits[row], history))

    def restore(self) -> None:
        for where, values in reversed(self._saved):
            self._logits[where] = values

    def _add(self, entries: LogitEntries) -> None:
        if entries:
            where, values = self._take(entries)
            self._logits[where] = values + _floats(entries.values)

    def _apply_repetition(self, entries: LogitEntries) -> None:
        if entries:
            where, values = self._take(entries)
            penalty = _floats(entries.values)
            self._logits[where] = np.where(values < 0, values * penalty, values / penalty)

    def _take(self, entries: LogitEntries) -> tuple[Any, Logits]:
        """Save some logits, and return their index and values, (N,)."""
        where = np.frombuffer(entries.rows, np.int64), np.frombuffer(entries.ids, np.int64)
        values = self._logits[where]
        self._saved.append((where, values))
        return where, values

    def _set_row(self, row: int, values: Logits | float) -> None:
        self._saved.append((row, self._logits[row].copy()))
        self._logits[row] = values


def _process(logits: Logits, history: TokenHistory) -> Logits:
    """Return the logits (V,) that the processors of a request make of `logits`."""
    for processor in history.params.logits_processor:
        result = np.asarray(processor(list(history.token_ids), logits.copy()), np.float32)
        if result.shape != logits.shape:
            raise InvalidArgument(
                "logits_processor", result.shape, f"to return logits of shape {logits.shape}"
            )
        logits = result
    return logits


def _floats(values: "array[float]") -> Logits:
    return np.frombuffer(values, np.float32)
