"""The states of sequences of a model of transformers: one cache of transformers for each row.

Rows of their own can join, leave and be copied with any mechanism of a layer, and none is padded.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import attrs
import torch
from torch import Tensor

from litgpt.adapters.pytorch.model.kv_cache import KVCache


@attrs.define(eq=False)
class RowState:
    """What a model keeps of the tokens of one sequence.

    Attributes:
        ids: All tokens (1, T), for a model without a cache, which computes them again; else None.
        length: The number of tokens.
        cache: The cache or the state of transformers; None before the first token.
    """

    length: int = 0
    cache: Any = None
    ids: Tensor | None = None

    def copy(self) -> "RowState":
        return deepcopy(self)


@attrs.define(eq=False)
class BridgedCache(KVCache):
    """The rows of a batch. Slots count as in `KVCache`, but only a row's own tokens are stored.

    Attributes:
        rows: The state of each row.
    """

    rows: list[RowState] = attrs.field(factory=list, kw_only=True)

    @classmethod
    def of_rows(
        cls, *, max_length: int, row_offsets: Sequence[int], lengths: Sequence[int] | None
    ) -> "BridgedCache":
        """Return an empty cache; the arguments are as for `KVCache.empty`."""
        offsets = list(row_offsets)
        row_lengths = list(lengths or (max_length - start for start in offsets))
        return cls([], max_length, offsets, row_lengths, [], rows=[RowState() for _ in offsets])

    @property
    def nbytes(self) -> int:
        return 0  # unknown

    def keep_rows(self, rows: Sequence[int]) -> None:
        super().keep_rows(rows)
        selected = [self.rows[row] for row in rows]
        # A beam that continues in several ways has a copy for each but one.
        self.rows = [
            state if selected.index(state) == at else state.copy() for at, state in enumerate(selected)
        ]

    def join(
        self, source: KVCache, source_rows: Sequence[int], rows: Sequence[int], *, end: int | None = None
    ) -> None:
        """Copy rows of another cache (see `KVCache.join`); `end` is None: no row can be truncated."""
        assert isinstance(source, BridgedCache)  # noqa: S101 - of the same model
        assert end is None  # noqa: S101 - `can_truncate_cache` is False
        super().join(source, source_rows, rows)
        with torch.inference_mode():
            for row, source_row in zip(rows, source_rows, strict=True):
                self.rows[row : row + 1] = [source.rows[source_row].copy()]

    def truncate(self, length: int) -> bool:
        return length >= self.length

    def copy(self) -> "BridgedCache":
        with torch.inference_mode():
            rows = [row.copy() for row in self.rows]
        return attrs.evolve(self, rows=rows, row_offsets=list(self.row_offsets), lengths=list(self.lengths))
