"""Packed matrices: weights in the tiles that the kernels read (`csrc/weights/format.h`)."""

import ctypes
from typing import Self

import attrs
import numpy as np
from numpy.typing import NDArray

from litgpt.adapters.native.library import check, load_library
from litgpt.adapters.native.structures import Format, SourceFormat, Tensor
from litgpt.domain.errors import InvalidArgument

_ALIGNMENT = 64
_BLOCKS = {
    SourceFormat.F32: (1, 4),
    SourceFormat.BF16: (1, 2),
    SourceFormat.F16: (1, 2),
    SourceFormat.Q8_0: (32, 34),
    SourceFormat.Q4_0: (32, 18),
    SourceFormat.Q4_1: (32, 20),
    SourceFormat.Q5_0: (32, 22),
    SourceFormat.Q5_1: (32, 24),
    SourceFormat.MXFP4: (32, 17),
    SourceFormat.Q2_K: (256, 84),
    SourceFormat.Q3_K: (256, 110),
    SourceFormat.Q4_K: (256, 144),
    SourceFormat.Q5_K: (256, 176),
    SourceFormat.Q6_K: (256, 210),
    SourceFormat.Q4Z: (32, 19),
}
"""The columns and bytes of a block of each source format."""


class MatrixMemory:
    """Memory for the matrices of a model, which takes large blocks from the operating system.

    NumPy requests huge pages for arrays of 4 MiB or more. Processors prefetch to the end of a page only, and
    look up the addresses of few pages at a time: a matrix in pages of 4 KiB is read more slowly.
    """

    def __init__(self, block: int = 32 << 20) -> None:
        self._block = block
        self._rest = np.empty(0, dtype=np.uint8)

    def zeros(self, size: int) -> NDArray[np.uint8]:
        """Return `size` zeros, aligned to 64 bytes."""
        if size > len(self._rest) - _ALIGNMENT:
            self._rest = np.zeros(max(size, self._block) + _ALIGNMENT, dtype=np.uint8)
        start = -self._rest.ctypes.data % _ALIGNMENT
        taken, self._rest = self._rest[start : start + size], self._rest[start + size :]
        return taken


@attrs.frozen(eq=False)
class PackedMatrix:
    """A matrix of `rows` x `cols` in tiles; `data` is contiguous."""

    format: Format
    rows: int
    cols: int
    data: NDArray[np.uint8]

    @classmethod
    def zeros(
        cls, weight_format: Format, rows: int, cols: int, *, memory: MatrixMemory | None = None
    ) -> Self:
        data = (memory or MatrixMemory(block=0)).zeros(packed_bytes(weight_format, rows, cols))
        return cls(weight_format, rows, cols, data)

    @property
    def tensor(self) -> Tensor:
        """The structure that the library takes; valid for as long as this matrix is."""
        return Tensor(self.format, 0, self.rows, self.cols, self.data.ctypes.data, self.data.nbytes)

    def pack(self, source: SourceFormat, values: NDArray[np.generic], first_row: int = 0) -> None:
        """Pack rows of `source` format from `first_row` on; `values` has the bytes of whole rows.

        Raises:
            InvalidArgument: `values` are not whole rows, or the rows are not in the matrix.
        """
        width = source_row_bytes(source, self.cols)
        raw = np.ascontiguousarray(values)
        count, rest = divmod(raw.nbytes, width)
        if rest:
            raise InvalidArgument("values", raw.nbytes, f"rows of {width} bytes each")
        self._require_rows(first_row, count)
        pack = load_library().litgpt_pack
        where = (self.data.ctypes.data, self.data.nbytes)
        rows = (raw.ctypes.data, raw.nbytes, first_row, count)
        check(pack(self.format, self.rows, self.cols, *where, source, *rows), "Packing weights")

    def unpack(self, first_row: int = 0, count: int | None = None) -> NDArray[np.float32]:
        """Return rows as float32 of shape (count, cols)."""
        count = self.rows - first_row if count is None else count
        self._require_rows(first_row, count)
        out = np.empty((count, self.cols), dtype=np.float32)
        unpack = load_library().litgpt_unpack
        check(unpack(self.tensor, first_row, count, _floats(out), out.size), "Unpacking weights")
        return out

    def matmul(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return x (tokens, cols) times the transposed matrix, of shape (tokens, rows)."""
        if x.ndim != 2 or x.shape[1] != self.cols:
            raise InvalidArgument("x", x.shape, f"of shape (tokens, {self.cols})")
        values = np.ascontiguousarray(x, dtype=np.float32)
        out = np.empty((len(values), self.rows), dtype=np.float32)
        matmul = load_library().litgpt_matmul
        check(matmul(self.tensor, _floats(values), len(values), _floats(out)), "The matrix product")
        return out

    def _require_rows(self, first: int, count: int) -> None:
        if not 0 <= first <= first + count <= self.rows:
            raise InvalidArgument(
                "rows", (first, first + count), f"within the {self.rows} rows of the matrix"
            )


def packed_bytes(weight_format: Format, rows: int, cols: int) -> int:
    """Return the bytes of a packed matrix, with the padding of rows to 16 and columns to 32."""
    return check(load_library().litgpt_packed_bytes(weight_format, rows, cols), "A packed matrix")


def source_row_bytes(source: SourceFormat, cols: int) -> int:
    """Return the bytes of a row of `cols` columns."""
    block, size = _BLOCKS[source]
    if cols % block:
        raise InvalidArgument("cols", cols, f"a multiple of {block} for {source.name}")
    return cols // block * size


def _floats(array: NDArray[np.float32]) -> "ctypes._Pointer[ctypes.c_float]":
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
