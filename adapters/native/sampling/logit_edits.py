"""Apply the parameters that change logits (`logit_bias`, penalties, …) with numpy, in place."""

# B rows, V vocabulary, N changed logits

from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litgpt.adapters.native.sampling.candidates import Logits
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.generation.errors import AllTokensExcluded
from litgpt.domain.generation.logit_edits import LogitEdits, LogitEntries
from litgpt.domain.generation.sampler_state import SamplerState
from litgpt.domain.generation.token_history import TokenHistory


@contextmanager
def edited(logits: Logits, states: Sequence[SamplerState]) -> Iterator[dict[int, NDArray[np.int64]]]:
    """Change contiguous `logits` (B, V) within a context, and yield which tokens to look at.

    These are the ids by row for `allowed_token_ids` and constraints, whose other tokens keep their logits: to
    exclude them takes longer. The logits are restored afterwards, which takes less time than a copy of all of
    them: log-probabilities are those of the unchanged logits.
    """
    edits = LogitEdits.of_batch(states, logits.shape[-1])
    if edits is None:
        yield {}
        return
    editor = _Editor(logits)
    try:
        editor.apply(edits)
        yield editor.allowed
    finally:
        editor.restore()


class _Editor:
    def __init__(self, logits: Logits) -> None:
        self._logits = logits
        self._flat = logits.reshape(-1)  # one index takes less time than two
        self._saved: list[tuple[Logits, Any, Logits]] = []
        self.allowed: dict[int, NDArray[np.int64]] = {}

    def apply(self, edits: LogitEdits) -> None:
        self._add(edits.bias)
        self.allowed = {row: np.frombuffer(ids, np.int64) for row, ids in edits.allowed.items()}
        for row, mask in edits.masks.items():
            self._mask(row, mask)
        self._add(edits.excluded)
        self._apply_repetition(edits.repetition)
        for penalties in edits.penalties:
            self._add(penalties)
        self._add(edits.min_tokens)
        for row, history in edits.processors.items():
            self._saved.append((self._logits, row, self._logits[row].copy()))
            if row in self.allowed:  # a processor sees which tokens are excluded
                self._logits[row] = _only(self._logits[row], self.allowed[row])
            self._logits[row] = _process(self._logits[row], history)

    def _mask(self, row: int, mask: bytes) -> None:
        """Exclude tokens: by the ids of the others if these are few, or by logits of -inf."""
        size = self._logits.shape[-1]
        ids, are_allowed = _minority(mask, size)
        if row in self.allowed:
            self.allowed[row] = self.allowed[row][_bits(mask, size)[self.allowed[row]]]
        elif are_allowed:
            self.allowed[row] = ids
        else:
            where = row * size + ids
            self._saved.append((self._flat, where, self._flat.take(where)))
            self._flat[where] = -np.inf
        if row in self.allowed and not self.allowed[row].size:
            raise AllTokensExcluded

    def restore(self) -> None:
        for array_, where, values in reversed(self._saved):
            array_[where] = values

    def _add(self, entries: LogitEntries) -> None:
        if entries:
            where, values = self._take(entries)
            self._flat[where] = values + _floats(entries.values)

    def _apply_repetition(self, entries: LogitEntries) -> None:
        if entries:
            where, values = self._take(entries)
            penalty = _floats(entries.values)
            self._flat[where] = np.where(values < 0, values * penalty, values / penalty)

    def _take(self, entries: LogitEntries) -> tuple[NDArray[np.int64], Logits]:
        """Save some logits, and return their index and values, (N,)."""
        rows, ids = np.frombuffer(entries.rows, np.int64), np.frombuffer(entries.ids, np.int64)
        where = rows * self._logits.shape[-1] + ids
        values = self._flat.take(where)
        self._saved.append((self._flat, where, values))
        return where, values


def _bits(mask: bytes, size: int) -> NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(mask, np.uint8), count=size, bitorder="little").view(np.bool_)


@lru_cache(maxsize=16)  # most tokens of a string, in all answers, have the same mask
def _minority(mask: bytes, size: int) -> tuple[NDArray[np.int64], bool]:
    """Return the token ids that a mask allows, and True; or those that it excludes, if they are fewer."""
    bits = _bits(mask, size)
    are_allowed = bool(2 * np.count_nonzero(bits) <= size)
    ids = (bits if are_allowed else ~bits).nonzero()[0]
    ids.flags.writeable = False
    return ids, are_allowed


def _only(logits: Logits, allowed: NDArray[np.int64]) -> Logits:
    """Return logits (V,) in which all other tokens are excluded."""
    result = np.full_like(logits, -np.inf)
    result[allowed] = logits[allowed]
    return result


def _process(logits: Logits, history: TokenHistory) -> Logits:
    """Return the logits (V,) that the processors of a request make of `logits`."""
    if history.processed is not None:
        return np.asarray(history.processed)
    for processor in history.params.logits_processor:
        result = np.asarray(processor(list(history.token_ids), logits.copy()), np.float32)
        if result.shape != logits.shape:
            raise InvalidArgument(
                "logits_processor", result.shape, f"to return logits of shape {logits.shape}"
            )
        logits = result
    history.processed = logits.copy()  # the processor may use its array again
    return logits


def _floats(values: "array[float]") -> Logits:
    return np.frombuffer(values, np.float32)
