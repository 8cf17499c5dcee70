"""Views of a checkpoint's tensors, through which they are read and written."""

from collections.abc import Iterator
from math import prod

import attrs


@attrs.frozen
class TensorView:
    """A view of a checkpoint tensor, for reading and writing.

    The tensor's rows are divided into `num_blocks` runs; the view consists of rows `start` to `stop` of each.

    Attributes:
        shape: The expected shape of the checkpoint tensor.
        expert_index: Index of the expert in a tensor that stacks all experts.
        flatten: Whether the view flattens the tensor; its elements are the rows then.
        block_stride: Distance between runs in rows; None divides all rows evenly.
        column_range: Start and end (exclusive) of the columns; None selects all.
    """

    name: str
    shape: tuple[int, ...]
    start: int
    stop: int
    num_blocks: int = 1
    expert_index: int | None = None
    transposed: bool = False
    flatten: bool = False
    block_stride: int | None = None
    column_range: tuple[int, int] | None = None

    @property
    def num_rows(self) -> int:
        """Number of parameter rows."""
        return self.num_blocks * (self.stop - self.start)

    @property
    def strided_layout(self) -> tuple[tuple[int, ...], tuple[int, ...], int]:
        """Size, stride and storage offset of the view, in elements; the shape is (runs, rows, *columns)."""
        own = self.shape if self.expert_index is None else self.shape[1:]
        own = (prod(own),) if self.flatten else own
        strides = tuple(prod(own[at + 1 :]) for at in range(len(own)))
        if self.transposed:
            own, strides = own[::-1], strides[::-1]
        first = (self.expert_index or 0) * prod(own) + self.start * strides[0]
        columns = own[1:]
        if self.column_range is not None:
            first += self.column_range[0] * strides[1]
            columns = (self.column_range[1] - self.column_range[0], *own[2:])
        stride = self.block_stride or own[0] // self.num_blocks
        return (self.num_blocks, self.stop - self.start, *columns), (stride * strides[0], *strides), first

    @property
    def is_full(self) -> bool:
        """Whether the view is the unchanged tensor."""
        all_rows = self.num_blocks == 1 and self.shape[:1] == (self.stop - self.start,)
        changed = self.transposed or self.flatten or self.column_range is not None
        return all_rows and self.expert_index is None and not changed

    def slice_rows(self, start: int, stop: int) -> "Iterator[TensorView]":
        """Yield the pieces of parameter rows `start` to `stop` of this piece."""
        length = self.stop - self.start
        own = self.shape if self.expert_index is None else self.shape[1:]
        rows = own[-1] if self.transposed else prod(own) if self.flatten else own[0]
        stride = self.block_stride or rows // self.num_blocks
        if start % length == 0 and stop % length == 0:
            first = self.start + start // length * stride
            runs = (stop - start) // length
            yield attrs.evolve(self, start=first, stop=first + length, num_blocks=runs, block_stride=stride)
            return
        for run in range(start // length, -(-stop // length)):
            begin, end = max(start, run * length), min(stop, (run + 1) * length)
            first = self.start + run * stride + begin - run * length
            yield attrs.evolve(self, start=first, stop=first + end - begin, num_blocks=1, block_stride=None)
