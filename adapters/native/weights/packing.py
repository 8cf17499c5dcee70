"""Pack the parameters of a checkpoint, a few rows at a time, from the mapped file where possible."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from litgpt.adapters.native.matrix import MatrixMemory, PackedMatrix
from litgpt.adapters.native.structures import Format, SourceFormat
from litgpt.adapters.native.weights.arrays import (
    STEP_BYTES,
    DenseTensor,
    RecentReads,
    TensorReader,
    check_shape,
)
from litgpt.adapters.native.weights.stored_rows import Bytes, StoredRows
from litgpt.domain.weights.mapping import ParameterSource
from litgpt.domain.weights.raw_tensor import RawTensor
from litgpt.domain.weights.tensor_view import TensorView

_OWN_FORMATS = {
    SourceFormat.Q8_0: (Format.Q8,),
    SourceFormat.Q4_0: (Format.Q4, Format.Q8),
    SourceFormat.Q4_1: (Format.Q4M,),
}
"""The formats with the same values, into which quantized rows are packed unless those are floats."""

_FLOATS = (Format.F32, Format.BF16)

_Conversion: TypeAlias = tuple[SourceFormat, Callable[[Bytes], NDArray[Any]] | None]
"""The format to which stored rows are converted before they are packed, and how; None leaves them."""


def pack_parameter(
    checkpoint: TensorReader, source: ParameterSource, target: Format, memory: MatrixMemory | None = None
) -> PackedMatrix:
    """Return a matrix in tiles of a format.

    The pages of the file are dropped from memory when they are packed. Tensors whose stored bytes cannot be
    used are read in float32; pass `RecentReads` for parameters that share them, such as stacked experts.

    Raises:
        CorruptFile: The file changed after it was opened, or a tensor has another shape than its header.
        InsufficientSpace: Memory could not be allocated.
    """
    matrix = PackedMatrix.zeros(target, *source.parameter.shape, memory=memory)
    reader = RecentReads(checkpoint)
    row = 0
    for view in source.views:
        raw = reader.raw(view.name)
        for source_format, rows in _pieces(matrix, reader, view, raw):
            matrix.pack(source_format, rows, row)
            row += len(rows)
        for part in () if raw is None else raw.parts:
            part.drop_pages()
    return matrix


def read_vector(checkpoint: TensorReader, source: ParameterSource) -> NDArray[np.float32]:
    """Return a norm weight, a bias or a table in float32, in the shape of the parameter."""
    reader = RecentReads(checkpoint)
    parts = [
        DenseTensor.read(reader, view, reader.raw(view.name)).as_float32(view).reshape(-1)
        for view in source.views
    ]
    return np.concatenate(parts).reshape(source.parameter.shape)


def _pieces(
    matrix: PackedMatrix, reader: TensorReader, view: TensorView, raw: RawTensor | None
) -> Iterator[tuple[SourceFormat, NDArray[Any]]]:
    """Yield the rows of a view in order, in a format that can be packed."""
    stored = None if raw is None else StoredRows.from_raw(raw)
    if stored is not None and (rows := stored.rows(view)) is not None:
        check_shape(reader, view, stored.shape)
        if (conversion := _conversion(stored.storage_format, matrix)) is not None:
            source, convert = conversion
            for piece in rows:
                for part in (piece,) if convert is None else _split(piece):
                    yield source, part if convert is None else convert(part)
            return
    dense = DenseTensor.read(reader, view, raw)
    for values in dense.rows(view):
        yield dense.source, values


def _conversion(storage_format: str, matrix: PackedMatrix) -> _Conversion | None:
    """Return how rows are converted before they are packed; None if the engine does not read the format."""
    source = SourceFormat.__members__.get(storage_format)
    if source is None:
        return None
    if matrix.format in (*_OWN_FORMATS.get(source, (matrix.format,)), *_FLOATS):
        return source, None
    return SourceFormat.F32, partial(_dequantize, source, matrix.cols)


def _dequantize(source: SourceFormat, columns: int, rows: Bytes) -> NDArray[np.float32]:
    matrix = PackedMatrix.zeros(Format.F32, len(rows), columns)
    matrix.pack(source, rows)
    return matrix.unpack()


def _split(rows: Bytes) -> Iterator[Bytes]:
    step = max(1, STEP_BYTES // rows.shape[1])
    for first in range(0, len(rows), step):
        yield rows[first : first + step]
