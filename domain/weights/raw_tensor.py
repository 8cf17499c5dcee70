"""The stored bytes of a tensor, for engines that compute with a file's own formats."""

from collections.abc import Callable, Sequence
from math import prod

import attrs

from litgpt.domain.formatting.bounded_text import brief_repr


def _keep_pages() -> None:
    """Do nothing: the bytes are not those of a mapped file."""


@attrs.frozen(eq=False)
class RawRows:
    """Rows of a tensor that are stored one after another, without padding.

    Attributes:
        storage_format: `F32`, `BF16`, `F16`, or a quantization type of GGUF (`Q4_0`, `Q6_K`, …), whose blocks
            do not cross rows, or `Q4Z`, which GGUF does not have: a float16 scale, a zero point in a byte and
            32 codes in the order of `Q4_0`. A value is scale * (code - zero).
        read: Returns the read-only bytes, little-endian, which stay valid after the checkpoint is closed.
            They are those of the file, or in another order, which is established at the first call.
        row_numbers: The row of the tensor that each stored row is.
        file: The path, inode, size and times of change (in nanoseconds) of the file whose bytes they are, in
            its order; None for others.
        drop_pages: Drops the pages of the file from this process's memory; they are read again when accessed.
    """

    storage_format: str
    read: Callable[[], memoryview] = attrs.field(repr=False)
    row_numbers: Sequence[int] = attrs.field(repr=False)
    file: tuple[str | int, ...] | None = attrs.field(default=None, kw_only=True)
    drop_pages: Callable[[], None] = attrs.field(default=_keep_pages, repr=False)


@attrs.frozen(eq=False)
class RawTensor:
    """A tensor as it is stored, in parts that together contain each row once.

    All dimensions but the last one are flattened: a tensor of shape (experts, rows, columns) has experts *
    rows rows, and a vector has one.

    Attributes:
        shape: The shape of the tensor.
        parts: Its rows.
        transposed: Whether the rows are those of the tensor with its last two dimensions swapped.
        offset: The number to subtract from each stored value.
    """

    shape: tuple[int, ...]
    parts: tuple[RawRows, ...]
    transposed: bool = False
    offset: float = 0.0

    __repr__ = brief_repr

    @property
    def stored_shape(self) -> tuple[int, ...]:
        """The shape of the rows: that of the tensor, or with its last two dimensions swapped."""
        return (*self.shape[:-2], *self.shape[:-3:-1]) if self.transposed else self.shape

    @property
    def num_rows(self) -> int:
        return prod(self.stored_shape[:-1])

    @property
    def num_columns(self) -> int:
        return self.stored_shape[-1] if self.shape else 1

    @property
    def storage_formats(self) -> frozenset[str]:
        return frozenset(part.storage_format for part in self.parts)
