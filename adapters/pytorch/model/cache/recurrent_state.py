"""The state of a linear attention or convolution, whose size does not depend on the number of tokens."""

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from litgpt.domain.formatting.bounded_text import summary_repr

# Rows grow by less than slots do, because each row is as large as all of its slots.
_ROW_GROWTH_FACTOR = 1.25


def grow_rows(num_rows: int, needed: int) -> int:
    """Return the number of rows to allocate in place of `num_rows`."""
    return num_rows if needed <= num_rows else max(needed, int(num_rows * _ROW_GROWTH_FACTOR))


@attrs.define(eq=False)
class RecurrentState:
    """The state of one layer.

    Attributes:
        recurrent_state: (B, H, K, V), in float32, because every token adds to it; (B, 0) without one.
        conv_state: (B, C, kernel - 1), the last inputs of the causal convolution.
    """

    recurrent_state: Tensor
    conv_state: Tensor

    def __repr__(self) -> str:
        return summary_repr("RecurrentState", rows=len(self.recurrent_state), nbytes=self.nbytes)

    @property
    def num_rows(self) -> int:
        """Number of rows that are allocated."""
        return len(self.recurrent_state)

    @property
    def nbytes(self) -> int:
        return self.recurrent_state.nbytes + self.conv_state.nbytes

    def reserve(self, length: int, more: int, *, rows: int, first: int, max_length: int) -> None:
        """Do nothing: the state has a fixed size."""

    def keep_rows(self, index: Tensor) -> None:
        self.recurrent_state, self.conv_state = self.recurrent_state[index], self.conv_state[index]

    def move_rows(self, source_index: Tensor, index: Tensor, length: int) -> None:
        """Overwrite the rows `index` by other rows."""
        del length
        for tensor in (self.recurrent_state, self.conv_state):
            tensor.index_copy_(0, index, tensor[source_index])

    def join(self, source: "RecurrentState", rows: int, index: Tensor, source_index: Tensor) -> None:
        """Copy the rows `source_index` of another state to the rows `index` of this one, of `rows` rows."""
        if rows > self.num_rows:
            rows = grow_rows(self.num_rows, rows)
            self.recurrent_state = _with_rows(self.recurrent_state, rows)
            self.conv_state = _with_rows(self.conv_state, rows)
        self.recurrent_state.index_copy_(0, index, source.recurrent_state[source_index])
        self.conv_state.index_copy_(0, index, source.conv_state[source_index])

    def can_truncate_to(self, length: int, written: int) -> bool:
        """Return whether nothing would be truncated: a state cannot be rolled back."""
        return length >= written

    def copy(self, length: int) -> "RecurrentState":
        del length
        return RecurrentState(self.recurrent_state.clone(), self.conv_state.clone())

    def first_rows(self, rows: int) -> "RecurrentState":
        if rows == len(self.recurrent_state):
            return self
        return RecurrentState(self.recurrent_state[:rows], self.conv_state[:rows])


def empty_recurrent_state(
    rows: int, sizes: Sequence[int], conv_shape: Sequence[int], *, device: torch.device, dtype: torch.dtype
) -> RecurrentState:
    """Return zeros for `sizes` (H, K, V) and `conv_shape` (C, kernel - 1); `dtype` is for the latter."""
    return RecurrentState(
        torch.zeros((rows, *sizes), device=device),
        torch.zeros((rows, *conv_shape), device=device, dtype=dtype),
    )


def _with_rows(tensor: Tensor, rows: int) -> Tensor:
    grown = tensor.new_zeros((rows, *tensor.shape[1:]))
    grown[: len(tensor)] = tensor
    return grown
