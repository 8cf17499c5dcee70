"""A fake of the native engine's model: logits are a function of all tokens of a sequence."""

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.model import Architecture


@attrs.define(eq=False)
class FakeSequence:
    """Tokens; those before `window` cannot be truncated to."""

    model: "FakeModel"
    tokens: list[int] = attrs.field(factory=list)
    closed: bool = False
    rope: tuple[float, ...] = ()

    @property
    def length(self) -> int:
        return len(self.tokens)

    def fork(self) -> "FakeSequence":
        assert not self.closed
        return self.model.opened(list(self.tokens))

    def truncate(self, length: int) -> None:
        assert not self.closed
        if length > len(self.tokens) or length < len(self.tokens) - self.model.window:
            raise UnsupportedOperation("Shortening a sequence", "its entries were freed.")
        del self.tokens[length:]

    def close(self) -> None:
        self.closed = True


@attrs.define(eq=False)
class FakeModel:
    """Records the number of tokens of each sequence in each step, and every sequence."""

    architecture: Architecture
    window: int = 10**9
    steps: list[list[int]] = attrs.field(factory=list)
    sequences: list[FakeSequence] = attrs.field(factory=list)
    overrides: dict[int, float] = attrs.field(factory=dict)
    adapter: None = None

    @property
    def page_bytes(self) -> int:
        return 2**20

    @property
    def bytes_per_token(self) -> int:
        return 2**40

    @property
    def can_truncate(self) -> bool:
        return self.window == 10**9

    def opened(self, tokens: list[int]) -> FakeSequence:
        self.sequences.append(FakeSequence(self, tokens))
        return self.sequences[-1]

    def rope_values(self, length: int) -> tuple[float, ...]:
        del length
        return ()

    def new_sequence(self, length: int) -> FakeSequence:
        del length
        return self.opened([])

    def hidden_states(
        self, batch: Sequence[tuple[Any, Sequence[int]]], rows: Sequence[int]
    ) -> NDArray[np.float32]:
        """Append tokens; the hidden states are the first logits."""
        return self.step(batch, rows)[:, : self.architecture.hidden_size]

    def scores(
        self, batch: Sequence[tuple[Any, Sequence[int]]], rows: Sequence[int], targets: Sequence[int]
    ) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
        """Append tokens; return the log-probabilities of targets, and whether each is the likeliest token."""
        logits = self.step(batch, rows).astype(np.float64)
        own = logits[np.arange(len(targets)), list(targets)]
        with np.errstate(invalid="ignore"):
            largest = logits.max(-1, initial=-np.inf)
            total = np.log(np.exp(logits - largest[:, None]).sum(-1)) + largest
            logprobs = np.where(np.isfinite(largest), own - total, np.nan)
        return logprobs, (own >= largest).astype(np.int32)

    def step(
        self,
        batch: Sequence[tuple[Any, Sequence[int]]],
        logit_rows: Sequence[int] | None = None,
        adapters: Sequence[Any] | None = None,
    ) -> NDArray[np.float32]:
        """Append tokens; `overrides` has the logits after sequences that end with a token."""
        del adapters
        self.steps.append([len(tokens) for _, tokens in batch])
        rows = []
        last = np.cumsum([len(tokens) for _, tokens in batch]) - 1
        wanted = set(last.tolist() if logit_rows is None else logit_rows)
        at = 0
        for sequence, tokens in batch:
            assert tokens
            assert not sequence.closed
            for token in tokens:
                sequence.tokens.append(token)
                if at in wanted:
                    random = np.random.default_rng(sequence.tokens)
                    row = random.normal(size=self.architecture.vocab_size)
                    rows.append(row + self.overrides.get(token, 0.0))
                at += 1
        return np.array(rows, dtype=np.float32).reshape(len(rows), self.architecture.vocab_size)
