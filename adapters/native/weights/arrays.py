"""The tensors of a checkpoint as numpy arrays."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeVar

import attrs
import numpy as np
from numpy.typing import NDArray

from litgpt.adapters.native.structures import SourceFormat
from litgpt.domain.errors import CorruptFile
from litgpt.domain.weights.raw_tensor import RawTensor
from litgpt.domain.weights.tensor_info import DType
from litgpt.domain.weights.tensor_view import TensorView

_STORED_DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),  # numpy does not have it
}

STEP_BYTES = 1 << 22
"""Bytes of the copy that rows are made of before they are packed, if they are not consecutive in the file."""

_RECENT_READS = 2

_K = TypeVar("_K")
_V = TypeVar("_V")


class TensorReader(Protocol):
    """What is needed of a checkpoint, or of its `RecentReads`."""

    @property
    def origin(self) -> str: ...

    def raw(self, name: str) -> RawTensor | None: ...

    def read(self, name: str, dtype: DType | None = None) -> Any: ...


class RecentReads:
    """A checkpoint that keeps the tensors that were read last, for parameters that share a tensor.

    These are the queries, keys and values of a fused projection, and the experts of a stacked one. Two
    tensors are kept because the parameters of an expert alternate between two.
    """

    def __init__(self, checkpoint: TensorReader) -> None:
        self._checkpoint = checkpoint
        self._read: OrderedDict[tuple[str, DType | None], Any] = OrderedDict()
        self._raw: OrderedDict[str, RawTensor | None] = OrderedDict()

    @property
    def origin(self) -> str:
        return self._checkpoint.origin

    def raw(self, name: str) -> RawTensor | None:
        return _recall(self._raw, name, lambda: self._checkpoint.raw(name))

    def read(self, name: str, dtype: DType | None = None) -> Any:
        return _recall(self._read, (name, dtype), lambda: self._checkpoint.read(name, dtype))


def _recall(recent: OrderedDict[_K, _V], key: _K, read: Callable[[], _V]) -> _V:
    if key not in recent:
        if len(recent) == _RECENT_READS:
            recent.popitem(last=False)  # before the next one needs its memory
        recent[key] = read()
    recent.move_to_end(key)
    return recent[key]


@attrs.frozen(eq=False)
class DenseTensor:
    """A tensor without quantization: the values as they are stored, in a contiguous array."""

    source: SourceFormat
    values: NDArray[Any]

    @classmethod
    def read(cls, checkpoint: TensorReader, view: TensorView, raw: RawTensor | None) -> "DenseTensor":
        """Return the tensor of a view: memory-mapped, or read in float32 if its bytes cannot be used."""
        dense = None if raw is None else cls.from_raw(raw)
        if dense is None:
            # Not ascontiguousarray, which makes a scalar one-dimensional.
            values = np.asarray(checkpoint.read(view.name, "float32").numpy(), order="C")
            dense = cls(SourceFormat.F32, values)
        check_shape(checkpoint, view, dense.values.shape)
        return dense

    @classmethod
    def from_raw(cls, raw: RawTensor) -> "DenseTensor | None":
        """Return the tensor, or None if it is quantized or its rows are stored in another order."""
        part = raw.parts[0]
        unordered = raw.transposed or part.row_numbers != range(raw.num_rows)
        if unordered or part.storage_format not in _STORED_DTYPES:
            return None
        values = np.frombuffer(part.read(), _STORED_DTYPES[part.storage_format]).reshape(raw.shape)
        dense = cls(SourceFormat[part.storage_format], values)
        return cls(SourceFormat.F32, dense.as_float32() - np.float32(raw.offset)) if raw.offset else dense

    def select(self, view: TensorView) -> NDArray[Any]:
        """Return the elements of a view: (blocks, rows of a block, columns …)."""
        sizes, strides, offset = view.strided_layout
        values = self.values.reshape(-1)[offset:]
        nbytes = values.itemsize
        return np.lib.stride_tricks.as_strided(
            values, sizes, tuple(stride * nbytes for stride in strides), writeable=False
        )

    def rows(self, view: TensorView) -> Iterator[NDArray[Any]]:
        """Yield the rows of a view in order: (rows, columns), contiguous."""
        selected = self.select(view)
        blocks = max(1, STEP_BYTES // max(1, selected[:1].nbytes))
        for first in range(0, len(selected), blocks):
            group = selected[first : first + blocks]
            if blocks > 1:
                yield np.ascontiguousarray(group).reshape(-1, *group.shape[2:])
            elif group[0].flags.c_contiguous:
                yield group[0]
            else:
                step = max(1, STEP_BYTES // max(1, group[0, :1].nbytes))
                for row in range(0, len(group[0]), step):
                    yield np.ascontiguousarray(group[0, row : row + step])

    def as_float32(self, view: TensorView | None = None) -> NDArray[np.float32]:
        """Return the elements of the tensor, or of a view of it."""
        selected = self.values if view is None else self.select(view)
        if self.source is SourceFormat.BF16:
            return (selected.astype(np.uint32) << 16).view(np.float32)
        return selected.astype(np.float32)


def check_shape(checkpoint: TensorReader, view: TensorView, shape: tuple[int, ...]) -> None:
    """Raise CorruptFile if a tensor does not have the shape from which the view was derived."""
    if shape != view.shape:
        reason = f"{view.name} has the shape {list(shape)}, expected {list(view.shape)}."
        raise CorruptFile(checkpoint.origin, reason)
