"""The recurrent state of a gated delta net, whose size does not depend on the number of tokens."""

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from litgpt.domain.formatting.bounded_text import summary_repr


@attrs.define(eq=False)
class RecurrentState:
    """The state of one layer.

    Attributes:
        recurrent_state: (B, H, K, V), in float32, because every token adds to it.
        conv_state: (B, C, kernel - 1), the last inputs of the causal convolution.
    """

    recurrent_state: Tensor
    conv_state: Tensor

    def __repr__(self) -> str:
        return summary_repr("RecurrentState", rows=len(self.recurrent_state), nbytes=self.nbytes)

    @property
    def oldest_slot(self) -> int:
        return 0

    @property
    def nbytes(self) -> int:
        return self.recurrent_state.nbytes + self.conv_state.nbytes

    def reserve(self, length: int, more: int, max_length: int) -> None:
        """Do nothing: the state has a fixed size."""

    def keep_rows(self, index: Tensor) -> None:
        self.recurrent_state, self.conv_state = self.recurrent_state[index], self.conv_state[index]

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
