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

from litgpt.adapters.checkpoints.gguf.cursor import Cursor, Value
from litgpt.adapters.checkpoints.gguf.files import GgufFile, opened
from litgpt.adapters.checkpoints.gguf.formats import FORMATS, KNOWN, Format
from litgpt.adapters.checkpoints.on_disk import is_pointer, pointer
from litgpt.domain.errors import DamagedFile, UnsupportedModel
from litgpt.domain.validators import is_integer

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_DIMENSIONS = 4

# The least that a key with its value, and a tensor, take in a header.
LEAST_ENTRY = 8 + 1 + 4 + 1
LEAST_TENSOR = 8 + 1 + 4 + 8 + 4 + 8


@attrs.frozen
class StoredTensor:
    """A tensor in a file.

    Attributes:
        file: The file it is in.
        name: What the file calls it.
        shape: As torch would print it, slowest dimension first.
        format: How it is stored.
        start: Its first byte, from the beginning of the file.

    """

    file: GgufFile
    name: str
    shape: tuple[int, ...]
    format: Format
    start: int

    @property
    def nbytes(self) -> int:
        """The bytes that it takes."""
        return prod(self.shape) // self.format.weights * self.format.nbytes

    @property
    def stop(self) -> int:
        """The byte behind its last."""
        return self.start + self.nbytes

    def rows(self, start: int, stop: int) -> "StoredTensor":
        """Return a part of it along its first dimension, which lies in one piece in the file.

        Raises:
            ValueError: It has no such rows, or they do not begin and end with a block.

        """
        count, row = self.shape[0], prod(self.shape[1:])
        if not 0 <= start < stop <= count or row % self.format.weights:
            raise ValueError(f"rows {start} to {stop} of {self.name!r} of shape {list(self.shape)}")
        first = self.start + start * row // self.format.weights * self.format.nbytes
        return StoredTensor(self.file, self.name, (stop - start, *self.shape[1:]), self.format, first)

    def at(self, number: int) -> "StoredTensor":
        """Return one of what it has along its first dimension, without that dimension.

        Raises:
            ValueError: It has not so many, or they do not begin and end with a block.

        """
        first = self.rows(number, number + 1).start
        return StoredTensor(self.file, self.name, self.shape[1:] or (1,), self.format, first)


@attrs.frozen
class Header:
    """What stands before the weights.

    Attributes:
        file: The file it heads.
        metadata: What the file says of its model, by key.
        tensors: Where the weights are, in the file's order.

    """

    file: GgufFile
    metadata: Mapping[str, Value] = attrs.field(repr=False)
    tensors: tuple[StoredTensor, ...] = attrs.field(repr=False)


def read_header(path: Path) -> Header:
    """Read the header of a GGUF file, version 2 or 3.

    Raises:
        MissingFile: There is no such file.
        DamagedFile: It is no GGUF file, was cut short, or contradicts itself.
        UnsupportedModel: It is of another version or byte order, or stores weights in an unknown way.

    """
    with opened(path) as raw:
        file = GgufFile(path, os.fstat(raw.fileno()).st_size)
        beginning = raw.read(64)
        if is_pointer(beginning):
            raise pointer(path)
        if not beginning.startswith(MAGIC):
            raise DamagedFile(str(path), "it does not begin with 'GGUF', so it is no GGUF file.")
        with mmap(raw.fileno(), 0, access=ACCESS_READ) as data:
            return _parse(Cursor(data, file, len(MAGIC)))


def _parse(cursor: Cursor) -> Header:
    _check_version(cursor)
    tensor_count, key_count = cursor.unsigned(8), cursor.unsigned(8)
    left = cursor.file.size - cursor.position
    if tensor_count * LEAST_TENSOR + key_count * LEAST_ENTRY > left:
        cursor.damaged(
            f"it announces {tensor_count} tensors and {key_count} keys, and only {left} bytes follow."
        )
    metadata: dict[str, Value] = {}
    for _ in range(key_count):
        key = cursor.string("a key")
        if not key or key in metadata:
            cursor.damaged(f"the key {key!r} is given twice." if key else "a key has no name.")
        metadata[key] = cursor.value(key)
    found: dict[str, StoredTensor] = {}
    for _ in range(tensor_count):
        tensor = _tensor(cursor)
        if tensor.name in found:
            cursor.damaged(f"the tensor {tensor.name!r} is given twice.")
        found[tensor.name] = tensor
    alignment = _alignment(cursor, metadata)
    weights = -(-cursor.position // alignment) * alignment
    tensors = tuple(attrs.evolve(tensor, start=tensor.start + weights) for tensor in found.values())
    _check_places(cursor, tensors, alignment)
    return Header(cursor.file, metadata, tensors)


def _check_version(cursor: Cursor) -> None:
    version = cursor.unsigned(4)
    if version in VERSIONS:
        return
    swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
    if swapped in (1, *VERSIONS):
        reason = "it was written for big-endian machines; only little-endian GGUF files are read."
    else:
        reason = f"it is of GGUF version {version}, and versions {' and '.join(map(str, VERSIONS))} are read."
    raise UnsupportedModel(str(cursor.file.path), reason)


def _tensor(cursor: Cursor) -> StoredTensor:
    """Read a tensor's name, dimensions, type and place, which still counts from the first weight."""
    name = cursor.string("a tensor's name")
    if not name:
        cursor.damaged("a tensor has no name.")
    dimensions = cursor.unsigned(4)
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        cursor.damaged(
            f"the tensor {name!r} has {dimensions} dimensions, where 1 to {MAX_DIMENSIONS} can be."
        )
    shape = tuple(cursor.unsigned(8) for _ in range(dimensions))[::-1]
    number = cursor.unsigned(4)
    if number not in FORMATS:
        known = ", ".join(one.name for one in FORMATS.values())
        stored = KNOWN.get(number, f"type number {number}")
        raise UnsupportedModel(
            str(cursor.file.path), f"its tensor {name!r} is stored as {stored}; what can be read is {known}."
        )
    stored_as = FORMATS[number]
    if 0 in shape or shape[-1] % stored_as.weights:
        cursor.damaged(
            f"the tensor {name!r} of shape {list(shape)} cannot be stored as {stored_as.name}, "
            f"in blocks of {stored_as.weights}."
        )
    return StoredTensor(cursor.file, name, shape, stored_as, start=cursor.unsigned(8))


def _alignment(cursor: Cursor, metadata: Mapping[str, Value]) -> int:
    alignment = metadata.get("general.alignment", 32)
    if not is_integer(alignment, 1) or alignment % 8:
        cursor.damaged(f"'general.alignment' must be a multiple of 8, not {alignment!r}.")
    return alignment


def _check_places(cursor: Cursor, tensors: tuple[StoredTensor, ...], alignment: int) -> None:
    """Check that the tensors are in the file, aligned, and not in each other's place."""
    needed = max((tensor.stop for tensor in tensors), default=0)
    if needed > cursor.file.size:
        cursor.damaged(f"it ends after {cursor.file.size} bytes and its tensors need {needed}.")
    last: StoredTensor | None = None
    for tensor in sorted(tensors, key=lambda tensor: tensor.start):
        if tensor.start % alignment:
            cursor.damaged(f"the tensor {tensor.name!r} does not begin at a multiple of {alignment} bytes.")
        if last is not None and last.stop > tensor.start:
            cursor.damaged(f"the tensors {last.name!r} and {tensor.name!r} overlap.")
        last = tensor
