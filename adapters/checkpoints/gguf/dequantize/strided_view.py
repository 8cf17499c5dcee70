"""Which numbers of a tensor something is, and in which order: sizes and strides, without the numbers."""

from math import prod

import attrs


@attrs.frozen
class StridedView:
    """Numbers of a tensor that lies in one piece, as torch's `as_strided` takes them.

    Attributes:
        sizes: Its shape.
        strides: For each dimension, how many numbers lie from one to the next.
        offset: How many lie before the first.

    """

    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0

    @classmethod
    def full(cls, shape: tuple[int, ...]) -> "StridedView":
        """Return the view of all of a tensor."""
        return cls(shape, tuple(prod(shape[at + 1 :]) for at in range(len(shape))))

    @property
    def numel(self) -> int:
        """How many numbers it has."""
        return prod(self.sizes)

    def split(self, axis: int, *sizes: int) -> "StridedView":
        """Return the same with a dimension split into several.

        Raises:
            ValueError: They do not multiply to its size.

        """
        if prod(sizes) != self.sizes[axis] or 0 in sizes:
            raise ValueError(f"{self.sizes[axis]} does not split into {sizes}")
        strides = tuple(self.strides[axis] * prod(sizes[at + 1 :]) for at in range(len(sizes)))
        return StridedView(
            (*self.sizes[:axis], *sizes, *self.sizes[axis + 1 :]),
            (*self.strides[:axis], *strides, *self.strides[axis + 1 :]),
            self.offset,
        )

    def swap(self, one: int, other: int) -> "StridedView":
        """Return the same with two dimensions exchanged."""
        axes = [*range(len(self.sizes))]
        axes[one], axes[other] = axes[other], axes[one]
        return StridedView(
            tuple(self.sizes[axis] for axis in axes), tuple(self.strides[axis] for axis in axes), self.offset
        )

    def slice(self, axis: int, start: int, stop: int) -> "StridedView":
        """Return a part of it along a dimension.

        Raises:
            ValueError: It does not reach so far.

        """
        if not 0 <= start < stop <= self.sizes[axis]:
            raise ValueError(f"{self.sizes[axis]} does not reach from {start} to {stop}")
        sizes = (*self.sizes[:axis], stop - start, *self.sizes[axis + 1 :])
        return StridedView(sizes, self.strides, self.offset + start * self.strides[axis])
