"""The states of sequences of a model of transformers: one cache of transformers for each row.

Rows of their own can join, leave and be copied with any mechanism of a layer, and none is padded.
"""

import inspect
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import attrs
import torch
from torch import Tensor

from litgpt.adapters.pytorch.model.cache.kv_cache import KVCache


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

    def remove_last(self, count: int) -> None:
        """Remove the last tokens, of a model for which `can_truncate` is true."""
        if count:
            self.cache.crop(-count)
            self.length -= count


def uses_dynamic_cache(hf_model: Any) -> bool:
    """Return whether the forward of a model of transformers takes a DynamicCache.

    Others have a state of their own (RWKV), or keep the state of one batch in the module (RecurrentGemma).
    """
    takes_cache = "cache" in inspect.signature(hf_model.forward).parameters
    in_module = any(hasattr(module, "_setup_cache") for module in hf_model.modules())
    return takes_cache and not in_module and bool(hf_model._supports_default_dynamic_cache())  # noqa: SLF001 - as in generate


def can_truncate(hf_model: Any) -> bool:
    """Return whether the last tokens of a sequence can be removed: all layers cache keys and values."""
    if not uses_dynamic_cache(hf_model) or hf_model._is_stateful:  # noqa: SLF001 - as in generate
        return False
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    return all(type(layer) is DynamicLayer for layer in DynamicCache(config=hf_model.config).layers)


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
        """Copy rows of another cache; see `KVCache.join`."""
        assert isinstance(source, BridgedCache)  # noqa: S101 - of the same model
        super().join(source, source_rows, rows, end=end)
        with torch.inference_mode():
            for row, source_row in zip(rows, source_rows, strict=True):
                state = source.rows[source_row].copy()
                state.remove_last(0 if end is None else source.length - end)
                self.rows[row : row + 1] = [state]

    def truncate(self, length: int) -> bool:
        removed = max(0, self.length - length)
        with torch.inference_mode():
            for row in self.rows:
                row.remove_last(removed)
        return super().truncate(length)

    def copy(self) -> "BridgedCache":
        with torch.inference_mode():
            rows = [row.copy() for row in self.rows]
        return attrs.evolve(self, rows=rows, row_offsets=list(self.row_offsets), lengths=list(self.lengths))
