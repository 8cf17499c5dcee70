"""What a layer keeps of a text whose memory does not grow with it."""

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from litgpt.domain.formatting.bounded_text import summary_repr


@attrs.define(eq=False)
class RecurrentState:
    """The state of one layer.

    Attributes:
        recurrent_state: (B, H, K, V), in float32: it is added to at every token.
        conv_state: (B, C, kernel - 1), what the convolution will still see.

    """

    recurrent_state: Tensor
    conv_state: Tensor

    def __repr__(self) -> str:
        return summary_repr("StateCache", rows=len(self.recurrent_state), nbytes=self.nbytes)

    @property
    def oldest_slot(self) -> int:
        """The first slot that it knows of: nothing is forgotten at once."""
        return 0

    @property
    def nbytes(self) -> int:
        """The memory it takes, in bytes."""
        return self.recurrent_state.nbytes + self.conv_state.nbytes

    def reserve(self, length: int, more: int, max_length: int) -> None:
        """Do nothing: it never grows."""

    def keep_rows(self, index: Tensor) -> None:
        """Forget all rows but these, in this order."""
        self.recurrent_state, self.conv_state = self.recurrent_state[index], self.conv_state[index]

    def can_truncate_to(self, length: int, written: int) -> bool:
        """Whether all slots from `length` to `written` can be forgotten: only none can."""
        return length >= written

    def copy(self, length: int) -> "RecurrentState":
        """Return one with the same contents and memory of its own."""
        del length
        return RecurrentState(self.recurrent_state.clone(), self.conv_state.clone())

    def first_rows(self, rows: int) -> "RecurrentState":
        """Return that of the first rows, in the same memory."""
        return (
            self
            if rows == len(self.recurrent_state)
            else RecurrentState(self.recurrent_state[:rows], self.conv_state[:rows])
        )


def empty_recurrent_state(
    rows: int, sizes: Sequence[int], conv_shape: Sequence[int], *, device: torch.device, dtype: torch.dtype
) -> RecurrentState:
    """Return the state of a text that has not begun.

    Args:
        rows: How many texts (B).
        sizes: H, K, V.
        conv_shape: C, kernel - 1.
        device: Where it is to be.
        dtype: The model's.

    """
    return RecurrentState(
        torch.zeros((rows, *sizes), device=device),
        torch.zeros((rows, *conv_shape), device=device, dtype=dtype),
    )
