"""Rows of tensors as they are stored, in the order in which a parameter has them."""

from collections.abc import Iterator
from typing import TypeAlias

import attrs
import numpy as np
from numpy.typing import NDArray

from litgpt.adapters.native.weights.arrays import STEP_BYTES
from litgpt.domain.weights.raw_tensor import RawRows, RawTensor
from litgpt.domain.weights.tensor_view import TensorView

Bytes: TypeAlias = NDArray[np.uint8]
_Numbers: TypeAlias = NDArray[np.int64]


@attrs.frozen(eq=False)
class StoredRows:
    """The rows of a tensor, all in one storage format.

    Attributes:
        shape: The shape of the tensor.
        transposed: Whether the rows are those of the tensor with its last two dimensions swapped.
        parts: Arrays of bytes, of shape (rows, bytes of a row).
        positions: Where each row of the tensor is among the rows of all parts; None if they are in order.
    """

    storage_format: str
    shape: tuple[int, ...]
    transposed: bool
    parts: tuple[Bytes, ...]
    positions: _Numbers | None

    @classmethod
    def from_raw(cls, raw: RawTensor) -> "StoredRows | None":
        """Return the rows, or None if their formats differ or the values are changed."""
        if len(raw.storage_formats) != 1 or raw.offset or 0 in raw.shape:
            return None
        parts = tuple(
            np.frombuffer(part.read(), np.uint8).reshape(len(part.row_numbers), -1) for part in raw.parts
        )
        return cls(raw.parts[0].storage_format, raw.shape, raw.transposed, parts, _positions(raw))

    def rows(self, view: TensorView) -> Iterator[Bytes] | None:
        """Return the rows of a view in order, in contiguous pieces; None if it divides or transposes rows."""
        if (run := self._consecutive_rows(view)) is not None:
            return iter((run,))
        numbers = self._row_numbers(view)
        if numbers is None:
            return None
        return self._pieces(numbers if self.positions is None else self.positions[numbers])

    def _consecutive_rows(self, view: TensorView) -> Bytes | None:
        """Return the rows of a view that are one run of a part, as most are; None for others."""
        if self.positions is not None or self.transposed or len(self.shape) < 2:
            return None
        sizes, strides, offset = view.strided_layout
        columns = self.shape[-1]
        if sizes[2:] != (columns,) or strides[1:] != (columns, 1) or offset % columns:
            return None
        if sizes[0] > 1 and strides[0] != sizes[1] * columns:
            return None
        first = offset // columns
        return self.parts[0][first : first + sizes[0] * sizes[1]]

    def _row_numbers(self, view: TensorView) -> _Numbers | None:
        sizes, strides, offset = view.strided_layout
        if len(sizes) != 3 or len(self.shape) < 2:
            return None
        starts = offset + strides[0] * np.arange(sizes[0])[:, None] + strides[1] * np.arange(sizes[1])
        rows, columns = self.shape[-2:]
        if self.transposed:  # a stored row is a column of the tensor, or of one in a stack
            matrix, number = np.divmod(starts.reshape(-1), rows * columns)
            if (sizes[2], strides[2]) != (rows, columns) or (number >= columns).any():
                return None
            return matrix * columns + number
        number, rest = np.divmod(starts.reshape(-1), columns)
        return number if (sizes[2], strides[2]) == (columns, 1) and not rest.any() else None

    def _pieces(self, positions: _Numbers) -> Iterator[Bytes]:
        """Yield the rows at `positions`: without a copy where they are consecutive, else a few at a time."""
        ends = np.cumsum([len(part) for part in self.parts])
        step = max(1, STEP_BYTES // self.parts[0].shape[1])
        breaks = self._breaks(positions, ends)
        if len(breaks) * step > len(positions):  # the runs are short
            for first in range(0, len(positions), step):
                yield self._gather(positions[first : first + step], ends)
            return
        for first, last in zip((0, *breaks), (*breaks, len(positions)), strict=True):
            yield self._run(int(positions[first]), int(last - first), ends)

    def _breaks(self, positions: _Numbers, ends: _Numbers) -> list[int]:
        """Return where a row does not follow the one before it in the same part."""
        jumps = np.diff(positions) != 1
        if len(self.parts) > 1:
            jumps |= np.isin(positions[1:], ends)
        return (np.flatnonzero(jumps) + 1).tolist()

    def _run(self, position: int, count: int, ends: _Numbers) -> Bytes:
        part = int(np.searchsorted(ends, position, side="right"))
        start = position - int(ends[part]) + len(self.parts[part])
        return self.parts[part][start : start + count]

    def _gather(self, positions: _Numbers, ends: _Numbers) -> Bytes:
        if len(self.parts) == 1:
            return self.parts[0][positions]
        gathered = np.empty((len(positions), self.parts[0].shape[1]), np.uint8)
        part_of = np.searchsorted(ends, positions, side="right")
        for number, part in enumerate(self.parts):
            chosen = part_of == number
            gathered[chosen] = part[positions[chosen] - ends[number] + len(part)]
        return gathered


def _positions(raw: RawTensor) -> _Numbers | None:
    if len(raw.parts) == 1 and raw.parts[0].row_numbers == range(raw.num_rows):
        return None
    numbers = np.concatenate([_numbers(part) for part in raw.parts])
    positions = np.zeros(raw.num_rows, np.int64)
    positions[numbers] = np.arange(raw.num_rows)
    return positions


def _numbers(rows: RawRows) -> _Numbers:
    numbers = rows.row_numbers
    if isinstance(numbers, range):
        return np.arange(numbers.start, numbers.stop, numbers.step)
    return np.array(numbers, np.int64)
