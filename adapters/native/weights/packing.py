"""Pack the parameters of a checkpoint, a few rows at a time, from the mapped file where possible."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litgpt.adapters.native.matrix import MatrixMemory, PackedMatrix
from litgpt.adapters.native.structures import Format, SourceFormat
from litgpt.adapters.native.weights.arrays import DenseTensor, RecentReads, TensorReader, check_shape
from litgpt.adapters.native.weights.stored_rows import StoredRows
from litgpt.domain.weights.mapping import ParameterSource
from litgpt.domain.weights.raw_tensor import RawTensor
from litgpt.domain.weights.tensor_view import TensorView


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
        for source_format, rows in _pieces(reader, view, raw):
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
    reader: TensorReader, view: TensorView, raw: RawTensor | None
) -> Iterator[tuple[SourceFormat, NDArray[Any]]]:
    """Yield the rows of a view in order, in a format that can be packed."""
    stored = None if raw is None else StoredRows.from_raw(raw)
    if stored is not None and (rows := stored.rows(view)) is not None:
        check_shape(reader, view, stored.shape)
        source = SourceFormat.__members__.get(stored.storage_format)
        if source is not None:
            for piece in rows:
                yield source, piece
            return
    dense = DenseTensor.read(reader, view, raw)
    for values in dense.rows(view):
        yield dense.source, values
