"""Read the header of a GGUF file: metadata and the locations of tensors.

All values are checked against the file size before they are used, and no weights are read.

Source: the GGUF specification, `docs/gguf.md` in ggml.
"""

import os
from collections.abc import Mapping
from math import prod
from mmap import ACCESS_READ, mmap
from pathlib import Path

import attrs

from litgpt.adapters.checkpoints.files.file_checks import is_lfs_pointer, lfs_pointer_error
from litgpt.adapters.checkpoints.gguf.reader.file import GgufFile, opened
from litgpt.adapters.checkpoints.gguf.reader.header_reader import HeaderReader, Value
from litgpt.adapters.checkpoints.gguf.reader.quant_types import (
    QUANT_TYPES,
    UNSUPPORTED_QUANT_TYPES,
    QuantType,
)
from litgpt.domain.errors import CorruptFile, UnsupportedModel
from litgpt.domain.validators import is_integer

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_DIMENSIONS = 4

# The minimum size of a key with its value, and of a tensor entry.
MIN_ENTRY_BYTES = 8 + 1 + 4 + 1
MIN_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8


@attrs.frozen
class GgufTensor:
    """A tensor in a file from the byte `start` on; its shape is in torch's order, slowest dimension first."""

    file: GgufFile
    name: str
    shape: tuple[int, ...]
    quant_type: QuantType
    start: int

    @property
    def nbytes(self) -> int:
        return prod(self.shape) // self.quant_type.block_size * self.quant_type.block_bytes

    @property
    def stop(self) -> int:
        return self.start + self.nbytes

    def rows(self, start: int, stop: int) -> "GgufTensor":
        """Return a contiguous part along the first dimension, from and to block boundaries."""
        count, row = self.shape[0], prod(self.shape[1:])
        if not 0 <= start < stop <= count or row % self.quant_type.block_size:
            raise ValueError(f"rows {start} to {stop} of {self.name!r} of shape {list(self.shape)}")
        first = self.start + start * row // self.quant_type.block_size * self.quant_type.block_bytes
        return GgufTensor(self.file, self.name, (stop - start, *self.shape[1:]), self.quant_type, first)

    def select(self, number: int) -> "GgufTensor":
        """Return the tensor at an index of the first dimension, without that dimension."""
        first = self.rows(number, number + 1).start
        return GgufTensor(self.file, self.name, self.shape[1:] or (1,), self.quant_type, first)


@attrs.frozen
class GgufHeader:
    """The header of a GGUF file; its tensors are in file order."""

    file: GgufFile
    metadata: Mapping[str, Value] = attrs.field(repr=False)
    tensors: tuple[GgufTensor, ...] = attrs.field(repr=False)


def read_header(path: Path) -> GgufHeader:
    """Read the header of a GGUF file of version 2 or 3."""
    with opened(path) as raw:
        file = GgufFile(path, os.fstat(raw.fileno()).st_size)
        beginning = raw.read(64)
        if is_lfs_pointer(beginning):
            raise lfs_pointer_error(path)
        if not beginning.startswith(MAGIC):
            raise CorruptFile(str(path), "it does not start with 'GGUF', so it is not a GGUF file.")
        with mmap(raw.fileno(), 0, access=ACCESS_READ) as data:
            return _parse(HeaderReader(data, file, len(MAGIC)))


def _parse(cursor: HeaderReader) -> GgufHeader:
    _check_version(cursor)
    tensor_count, key_count = cursor.unsigned(8), cursor.unsigned(8)
    left = cursor.file.size - cursor.position
    if tensor_count * MIN_TENSOR_BYTES + key_count * MIN_ENTRY_BYTES > left:
        cursor.raise_corrupt(
            f"it specifies {tensor_count} tensors and {key_count} keys, but only {left} bytes follow."
        )
    metadata: dict[str, Value] = {}
    for _ in range(key_count):
        key = cursor.string("a key")
        if not key or key in metadata:
            cursor.raise_corrupt(f"the key {key!r} appears twice." if key else "a key has no name.")
        metadata[key] = cursor.value(key)
    entries: dict[str, GgufTensor] = {}
    for _ in range(tensor_count):
        tensor = _tensor(cursor)
        if tensor.name in entries:
            cursor.raise_corrupt(f"the tensor {tensor.name!r} appears twice.")
        entries[tensor.name] = tensor
    alignment = _alignment(cursor, metadata)
    weights = -(-cursor.position // alignment) * alignment
    tensors = tuple(
        GgufTensor(tensor.file, tensor.name, tensor.shape, tensor.quant_type, tensor.start + weights)
        for tensor in entries.values()
    )
    _check_offsets(cursor, tensors, alignment)
    return GgufHeader(cursor.file, metadata, tensors)


def _check_version(cursor: HeaderReader) -> None:
    version = cursor.unsigned(4)
    if version in VERSIONS:
        return
    swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
    if swapped in (1, *VERSIONS):
        reason = "it is big-endian; only little-endian GGUF files are supported."
    else:
        supported = " and ".join(map(str, VERSIONS))
        reason = f"it has GGUF version {version}; versions {supported} are supported."
    raise UnsupportedModel(str(cursor.file.path), reason)


def _tensor(cursor: HeaderReader) -> GgufTensor:
    """Read a tensor's name, shape, type and offset, which is relative to the first weight."""
    name = cursor.string("a tensor's name")
    if not name:
        cursor.raise_corrupt("a tensor has no name.")
    dimensions = cursor.unsigned(4)
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        cursor.raise_corrupt(
            f"the tensor {name!r} has {dimensions} dimensions, expected 1 to {MAX_DIMENSIONS}."
        )
    shape = tuple(cursor.unsigned(8) for _ in range(dimensions))[::-1]
    number = cursor.unsigned(4)
    if number not in QUANT_TYPES:
        supported = ", ".join(quant_type.name for quant_type in QUANT_TYPES.values())
        stored_as = UNSUPPORTED_QUANT_TYPES.get(number, f"type number {number}")
        reason = f"its tensor {name!r} is stored as {stored_as}; supported are {supported}."
        raise UnsupportedModel(str(cursor.file.path), reason)
    quant_type = QUANT_TYPES[number]
    if 0 in shape or shape[-1] % quant_type.block_size:
        cursor.raise_corrupt(
            f"the tensor {name!r} of shape {list(shape)} cannot be stored as {quant_type.name}, "
            f"in blocks of {quant_type.block_size}."
        )
    return GgufTensor(cursor.file, name, shape, quant_type, start=cursor.unsigned(8))


def _alignment(cursor: HeaderReader, metadata: Mapping[str, Value]) -> int:
    alignment = metadata.get("general.alignment", 32)
    if not is_integer(alignment, 1) or alignment % 8:
        cursor.raise_corrupt(f"'general.alignment' must be a multiple of 8, not {alignment!r}.")
    return alignment


def _check_offsets(cursor: HeaderReader, tensors: tuple[GgufTensor, ...], alignment: int) -> None:
    """Check that the tensors are within the file, aligned, and do not overlap."""
    needed = max((tensor.stop for tensor in tensors), default=0)
    if needed > cursor.file.size:
        cursor.raise_corrupt(f"it ends after {cursor.file.size} bytes, but its tensors need {needed}.")
    last: GgufTensor | None = None
    for tensor in sorted(tensors, key=lambda tensor: tensor.start):
        if tensor.start % alignment:
            cursor.raise_corrupt(
                f"the tensor {tensor.name!r} does not start at a multiple of {alignment} bytes."
            )
        if last is not None and last.stop > tensor.start:
            cursor.raise_corrupt(f"the tensors {last.name!r} and {tensor.name!r} overlap.")
        last = tensor
