"""What a layer keeps of a text whose memory does not grow with it."""

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from litgpt.domain.messages import summary


@attrs.define(eq=False)
class StateCache:
    """The state of one layer.

    Attributes:
        state: (B, H, K, V), in float32: it is added to at every token.
        recent: (B, C, kernel - 1), what the convolution will still see.

    """

    state: Tensor
    recent: Tensor

    def __repr__(self) -> str:
        return summary("StateCache", rows=len(self.state), nbytes=self.nbytes)

    @property
    def first(self) -> int:
        """The first slot that it knows of: nothing is forgotten at once."""
        return 0

    @property
    def nbytes(self) -> int:
        """The memory it takes, in bytes."""
        return self.state.nbytes + self.recent.nbytes

    def make_room(self, length: int, more: int, limit: int) -> None:
        """Do nothing: it never grows."""

    def keep_rows(self, index: Tensor) -> None:
        """Forget all rows but these, in this order."""
        self.state, self.recent = self.state[index], self.recent[index]

    def reaches(self, length: int, written: int) -> bool:
        """Whether all slots from `length` to `written` can be forgotten: only none can."""
        return length >= written

    def copy(self, length: int) -> "StateCache":
        """Return one with the same contents and memory of its own."""
        del length
        return StateCache(self.state.clone(), self.recent.clone())

    def of_rows(self, rows: int) -> "StateCache":
        """Return that of the first rows, in the same memory."""
        return self if rows == len(self.state) else StateCache(self.state[:rows], self.recent[:rows])


def empty_state(
    rows: int, sizes: Sequence[int], recent: Sequence[int], *, device: torch.device, dtype: torch.dtype
) -> StateCache:
    """Return the state of a text that has not begun.

    Args:
        rows: How many texts (B).
        sizes: H, K, V.
        recent: C, kernel - 1.
        device: Where it is to be.
        dtype: The model's.

    """
    return StateCache(
        torch.zeros((rows, *sizes), device=device), torch.zeros((rows, *recent), device=device, dtype=dtype)
    )
