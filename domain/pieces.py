"""Views of a checkpoint's tensors, through which they are read and written."""

from collections.abc import Iterator
from math import prod

import attrs


@attrs.frozen
class Piece:
    """A view of a checkpoint tensor, for reading and writing.

    The tensor's rows are divided into `runs` runs; the view consists of rows `start` to `stop` of each.

    Attributes:
        name: Name of the checkpoint tensor.
        shape: Its expected shape.
        start: First row in each run.
        stop: End of the rows in each run (exclusive).
        runs: Number of runs.
        expert: Index of the expert in a tensor that stacks all experts.
        transposed: Whether the view transposes the tensor.
        flat: Whether the view flattens the tensor; its elements are the rows then.
        every: Distance between runs in rows; None divides all rows evenly.
        columns: Start and end (exclusive) of the columns; None selects all.

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
        """Number of parameter rows."""
        return self.runs * (self.stop - self.start)

    @property
    def view(self) -> tuple[tuple[int, ...], tuple[int, ...], int]:
        """Size, stride and storage offset of the view, in elements; the shape is (runs, rows, *columns)."""
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
        """Whether the view is the unchanged tensor."""
        all_rows = self.runs == 1 and self.shape[:1] == (self.stop - self.start,)
        changed = self.transposed or self.flat or self.columns is not None
        return all_rows and self.expert is None and not changed

    def cut(self, start: int, stop: int) -> "Iterator[Piece]":
        """Yield the pieces of parameter rows `start` to `stop` of this piece."""
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
