"""Sizes and strides of views into a tensor, without the data."""

from functools import lru_cache
from math import prod

import attrs


@attrs.frozen
class StridedView:
    """A view of a contiguous tensor, as in torch's `as_strided`; strides and offset count elements."""

    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0

    @classmethod
    def full(cls, shape: tuple[int, ...]) -> "StridedView":
        return cls(shape, tuple(prod(shape[at + 1 :]) for at in range(len(shape))))

    @property
    def numel(self) -> int:
        return prod(self.sizes)

    @lru_cache(maxsize=8)  # noqa: B019 - of values; the layers of a model have the same views
    def row_numbers(self, length: int) -> tuple[int, ...] | None:
        """Return the rows of `length` elements of the view, in its order; None if it divides rows."""
        inner, outer = 1, len(self.sizes)
        while outer and inner < length and (self.sizes[outer - 1] == 1 or self.strides[outer - 1] == inner):
            outer -= 1
            inner *= self.sizes[outer]
        if inner % length or any(start % length for start in (self.offset, *self.strides[:outer])):
            return None
        strides = (*(stride // length for stride in self.strides[:outer]), 1)
        rows = StridedView((*self.sizes[:outer], inner // length), strides, self.offset // length)
        return tuple(rows._starts(outer + 1))

    def column_numbers(self, length: int, count: int) -> tuple[int, ...] | None:
        """Return the columns of the view, in its order, of matrices with `length` rows and `count` columns.

        The columns of all matrices are numbered one after another. None if the view divides columns.
        """
        if self.sizes[-1:] != (length,) or self.strides[-1] != count:
            return None
        places = [divmod(start, length * count) for start in self._starts(len(self.sizes) - 1)]
        if any(column >= count for _, column in places):
            return None
        return tuple(matrix * count + column for matrix, column in places)

    def _starts(self, dimensions: int) -> list[int]:
        """Return the offsets of all indices of the first dimensions."""
        starts = [self.offset]
        for size, stride in zip(self.sizes[:dimensions], self.strides[:dimensions], strict=True):
            starts = [start + index * stride for start in starts for index in range(size)]
        return starts

    def split(self, axis: int, *sizes: int) -> "StridedView":
        if prod(sizes) != self.sizes[axis] or 0 in sizes:
            raise ValueError(f"{self.sizes[axis]} does not split into {sizes}")
        strides = tuple(self.strides[axis] * prod(sizes[at + 1 :]) for at in range(len(sizes)))
        return StridedView(
            (*self.sizes[:axis], *sizes, *self.sizes[axis + 1 :]),
            (*self.strides[:axis], *strides, *self.strides[axis + 1 :]),
            self.offset,
        )

    def swap(self, axis_a: int, axis_b: int) -> "StridedView":
        axes = [*range(len(self.sizes))]
        axes[axis_a], axes[axis_b] = axes[axis_b], axes[axis_a]
        return StridedView(
            tuple(self.sizes[axis] for axis in axes), tuple(self.strides[axis] for axis in axes), self.offset
        )

    def slice(self, axis: int, start: int, stop: int) -> "StridedView":
        if not 0 <= start < stop <= self.sizes[axis]:
            raise ValueError(f"the slice {start}:{stop} is out of range for size {self.sizes[axis]}")
        sizes = (*self.sizes[:axis], stop - start, *self.sizes[axis + 1 :])
        return StridedView(sizes, self.strides, self.offset + start * self.strides[axis])
