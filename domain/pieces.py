"""Views of a checkpoint's tensors, through which they are read and written."""

from collections.abc import Iterator
from math import prod

import attrs


@attrs.frozen
class Piece:
    """A view of a tensor of theirs, through which it is read, and written.

    With the tensor seen as `runs` equal runs of rows, the view has rows `start` to `stop` of each run.

    Attributes:
        name: Theirs.
        shape: The shape that it must have.
        start: The first row, in each run.
        stop: The row after the last.
        runs: How many runs there are.
        expert: Which expert's, where it holds all of them.
        transposed: Whether its rows and columns are exchanged.
        flat: Whether it is seen as a vector of all its numbers, which are the rows then.
        every: How many rows there are from one run to the next; None deals out all rows to the runs.
        columns: The first column and the one after the last; None has all.

    """

    name: str
    shape: tuple[int, ...]
    start: int
    stop: int
    runs: int = 1
    expert: int | None = None
    transposed: bool = False
    flat: bool = False
    every: int | None = None
    columns: tuple[int, int] | None = None

    @property
    def rows(self) -> int:
        """How many rows of ours it is."""
        return self.runs * (self.stop - self.start)

    @property
    def view(self) -> tuple[tuple[int, ...], tuple[int, ...], int]:
        """The sizes, strides and offset of the view in their tensor, in numbers and as it lies in memory.

        The first size is `runs`, the second the rows in each, then come the columns.
        """
        own = self.shape if self.expert is None else self.shape[1:]
        own = (prod(own),) if self.flat else own
        strides = tuple(prod(own[at + 1 :]) for at in range(len(own)))
        if self.transposed:
            own, strides = own[::-1], strides[::-1]
        first = (self.expert or 0) * prod(own) + self.start * strides[0]
        columns = own[1:]
        if self.columns is not None:
            first += self.columns[0] * strides[1]
            columns = (self.columns[1] - self.columns[0], *own[2:])
        every = self.every or own[0] // self.runs
        return (self.runs, self.stop - self.start, *columns), (every * strides[0], *strides), first

    @property
    def whole(self) -> bool:
        """Whether it is the tensor as it is."""
        all_rows = self.runs == 1 and self.shape[:1] == (self.stop - self.start,)
        changed = self.transposed or self.flat or self.columns is not None
        return all_rows and self.expert is None and not changed

    def cut(self, start: int, stop: int) -> "Iterator[Piece]":
        """Yield the pieces that are rows `start` to `stop` of this one, counted as ours."""
        length = self.stop - self.start
        own = self.shape if self.expert is None else self.shape[1:]
        rows = own[-1] if self.transposed else prod(own) if self.flat else own[0]
        every = self.every or rows // self.runs
        if start % length == 0 and stop % length == 0:
            first = self.start + start // length * every
            runs = (stop - start) // length
            yield attrs.evolve(self, start=first, stop=first + length, runs=runs, every=every)
            return
        for run in range(start // length, -(-stop // length)):
            begin, end = max(start, run * length), min(stop, (run + 1) * length)
            first = self.start + run * every + begin - run * length
            yield attrs.evolve(self, start=first, stop=first + end - begin, runs=1, every=None)
