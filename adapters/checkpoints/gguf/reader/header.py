"""The header of a GGUF file: what it says of itself, and where its tensors are.

Everything is checked against the file's length before it is used, and no weight is read.

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

# The least that a key with its value, and a tensor, take in a header.
MIN_ENTRY_BYTES = 8 + 1 + 4 + 1
MIN_TENSOR_BYTES = 8 + 1 + 4 + 8 + 4 + 8


@attrs.frozen
class GgufTensor:
    """A tensor in a file.

    Attributes:
        file: The file it is in.
        name: What the file calls it.
        shape: As torch would print it, slowest dimension first.
        quant_type: How it is stored.
        start: Its first byte, from the beginning of the file.

    """

    file: GgufFile
    name: str
    shape: tuple[int, ...]
    quant_type: QuantType
    start: int

    @property
    def nbytes(self) -> int:
        """The bytes that it takes."""
        return prod(self.shape) // self.quant_type.block_size * self.quant_type.block_bytes

    @property
    def stop(self) -> int:
        """The byte behind its last."""
        return self.start + self.nbytes

    def rows(self, start: int, stop: int) -> "GgufTensor":
        """Return a part of it along its first dimension, which lies in one piece in the file.

        Raises:
            ValueError: It has no such rows, or they do not begin and end with a block.

        """
        count, row = self.shape[0], prod(self.shape[1:])
        if not 0 <= start < stop <= count or row % self.quant_type.block_size:
            raise ValueError(f"rows {start} to {stop} of {self.name!r} of shape {list(self.shape)}")
        first = self.start + start * row // self.quant_type.block_size * self.quant_type.block_bytes
        return GgufTensor(self.file, self.name, (stop - start, *self.shape[1:]), self.quant_type, first)

    def select(self, number: int) -> "GgufTensor":
        """Return one of what it has along its first dimension, without that dimension.

        Raises:
            ValueError: It has not so many, or they do not begin and end with a block.

        """
        first = self.rows(number, number + 1).start
        return GgufTensor(self.file, self.name, self.shape[1:] or (1,), self.quant_type, first)


@attrs.frozen
class GgufHeader:
    """What stands before the weights.

    Attributes:
        file: The file it heads.
        metadata: What the file says of its model, by key.
        tensors: Where the weights are, in the file's order.

    """

    file: GgufFile
    metadata: Mapping[str, Value] = attrs.field(repr=False)
    tensors: tuple[GgufTensor, ...] = attrs.field(repr=False)


def read_header(path: Path) -> GgufHeader:
    """Read the header of a GGUF file, version 2 or 3.

    Raises:
        MissingFile: There is no such file.
        CorruptFile: It is no GGUF file, was cut short, or contradicts itself.
        UnsupportedModel: It is of another version or byte order, or stores weights in an unknown way.

    """
    with opened(path) as raw:
        file = GgufFile(path, os.fstat(raw.fileno()).st_size)
        beginning = raw.read(64)
        if is_lfs_pointer(beginning):
            raise lfs_pointer_error(path)
        if not beginning.startswith(MAGIC):
            raise CorruptFile(str(path), "it does not begin with 'GGUF', so it is no GGUF file.")
        with mmap(raw.fileno(), 0, access=ACCESS_READ) as data:
            return _parse(HeaderReader(data, file, len(MAGIC)))


def _parse(cursor: HeaderReader) -> GgufHeader:
    _check_version(cursor)
    tensor_count, key_count = cursor.unsigned(8), cursor.unsigned(8)
    left = cursor.file.size - cursor.position
    if tensor_count * MIN_TENSOR_BYTES + key_count * MIN_ENTRY_BYTES > left:
        cursor.raise_corrupt(
            f"it announces {tensor_count} tensors and {key_count} keys, and only {left} bytes follow."
        )
    metadata: dict[str, Value] = {}
    for _ in range(key_count):
        key = cursor.string("a key")
        if not key or key in metadata:
            cursor.raise_corrupt(f"the key {key!r} is given twice." if key else "a key has no name.")
        metadata[key] = cursor.value(key)
    found: dict[str, GgufTensor] = {}
    for _ in range(tensor_count):
        tensor = _tensor(cursor)
        if tensor.name in found:
            cursor.raise_corrupt(f"the tensor {tensor.name!r} is given twice.")
        found[tensor.name] = tensor
    alignment = _alignment(cursor, metadata)
    weights = -(-cursor.position // alignment) * alignment
    tensors = tuple(attrs.evolve(tensor, start=tensor.start + weights) for tensor in found.values())
    _check_offsets(cursor, tensors, alignment)
    return GgufHeader(cursor.file, metadata, tensors)


def _check_version(cursor: HeaderReader) -> None:
    version = cursor.unsigned(4)
    if version in VERSIONS:
        return
    swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
    if swapped in (1, *VERSIONS):
        reason = "it was written for big-endian machines; only little-endian GGUF files are read."
    else:
        reason = f"it is of GGUF version {version}, and versions {' and '.join(map(str, VERSIONS))} are read."
    raise UnsupportedModel(str(cursor.file.path), reason)


def _tensor(cursor: HeaderReader) -> GgufTensor:
    """Read a tensor's name, dimensions, type and place, which still counts from the first weight."""
    name = cursor.string("a tensor's name")
    if not name:
        cursor.raise_corrupt("a tensor has no name.")
    dimensions = cursor.unsigned(4)
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        cursor.raise_corrupt(
            f"the tensor {name!r} has {dimensions} dimensions, where 1 to {MAX_DIMENSIONS} can be."
        )
    shape = tuple(cursor.unsigned(8) for _ in range(dimensions))[::-1]
    number = cursor.unsigned(4)
    if number not in QUANT_TYPES:
        known = ", ".join(one.name for one in QUANT_TYPES.values())
        stored = UNSUPPORTED_QUANT_TYPES.get(number, f"type number {number}")
        raise UnsupportedModel(
            str(cursor.file.path), f"its tensor {name!r} is stored as {stored}; what can be read is {known}."
        )
    stored_as = QUANT_TYPES[number]
    if 0 in shape or shape[-1] % stored_as.block_size:
        cursor.raise_corrupt(
            f"the tensor {name!r} of shape {list(shape)} cannot be stored as {stored_as.name}, "
            f"in blocks of {stored_as.block_size}."
        )
    return GgufTensor(cursor.file, name, shape, stored_as, start=cursor.unsigned(8))


def _alignment(cursor: HeaderReader, metadata: Mapping[str, Value]) -> int:
    alignment = metadata.get("general.alignment", 32)
    if not is_integer(alignment, 1) or alignment % 8:
        cursor.raise_corrupt(f"'general.alignment' must be a multiple of 8, not {alignment!r}.")
    return alignment


def _check_offsets(cursor: HeaderReader, tensors: tuple[GgufTensor, ...], alignment: int) -> None:
    """Check that the tensors are in the file, aligned, and not in each other's place."""
    needed = max((tensor.stop for tensor in tensors), default=0)
    if needed > cursor.file.size:
        cursor.raise_corrupt(f"it ends after {cursor.file.size} bytes and its tensors need {needed}.")
    last: GgufTensor | None = None
    for tensor in sorted(tensors, key=lambda tensor: tensor.start):
        if tensor.start % alignment:
            cursor.raise_corrupt(
                f"the tensor {tensor.name!r} does not begin at a multiple of {alignment} bytes."
            )
        if last is not None and last.stop > tensor.start:
            cursor.raise_corrupt(f"the tensors {last.name!r} and {tensor.name!r} overlap.")
        last = tensor
