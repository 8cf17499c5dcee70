"""The keys and values of a layer's attention, and the state of its state space."""

import attrs
from torch import Tensor

from litgpt.adapters.pytorch.model.cache.layer_cache import JoinedRows, LayerCache
from litgpt.adapters.pytorch.model.cache.recurrent_state import RecurrentState
from litgpt.domain.formatting.bounded_text import summary_repr


@attrs.define(eq=False)
class HybridCache:
    """The cache of a layer with attention and a state space."""

    attention: LayerCache
    state: RecurrentState

    def __repr__(self) -> str:
        return summary_repr("HybridCache", attention=self.attention, state=self.state)

    @property
    def num_rows(self) -> int:
        """Number of rows that are allocated for both."""
        return min(self.attention.num_rows, self.state.num_rows)

    @property
    def nbytes(self) -> int:
        return self.attention.nbytes + self.state.nbytes

    def reserve(self, length: int, more: int, *, rows: int, first: int, max_length: int) -> None:
        """Make room for the keys and values of `more` tokens; the arguments are as in `LayerCache`."""
        self.attention.reserve(length, more, rows=rows, first=first, max_length=max_length)

    def keep_rows(self, index: Tensor) -> None:
        self.attention.keep_rows(index)
        self.state.keep_rows(index)

    def move_rows(self, source_index: Tensor, index: Tensor, length: int) -> None:
        """Overwrite the rows `index` by other rows."""
        self.attention.move_rows(source_index, index, length)
        self.state.move_rows(source_index, index, length)

    def join(self, source: "HybridCache", change: JoinedRows, index: Tensor, source_index: Tensor) -> None:
        """Copy the rows `source_index` of another cache to the rows `index` of this one."""
        self.attention.join(source.attention, change, index, source_index)
        self.state.join(source.state, change.rows, index, source_index)

    def can_truncate_to(self, length: int, written: int) -> bool:
        """Return whether nothing would be truncated: a state cannot be rolled back."""
        return self.state.can_truncate_to(length, written)

    def copy(self, length: int) -> "HybridCache":
        return HybridCache(self.attention.copy(length), self.state.copy(length))
