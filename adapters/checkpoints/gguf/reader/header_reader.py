"""Read the values of a GGUF header in order, with bounds checks."""

import struct
from array import array
from collections.abc import Sequence
from mmap import mmap
from typing import NoReturn, TypeAlias

import attrs

from litgpt.adapters.checkpoints.gguf.reader.file import GgufFile
from litgpt.domain.errors import CorruptFile

# GGUF's numbers of scalar metadata types, with their `struct` formats.
SCALARS: dict[int, str] = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
FLOAT32, BOOL, STRING, ARRAY = 6, 7, 8, 9

# Maximum bytes of a key, a string and an array; larger values indicate a corrupt file. The first limit is
# from the specification; the others exceed any known vocabulary.
MAX_NAME, MAX_TEXT, MAX_ARRAY = 0xFFFF, 1 << 26, 1 << 28

_LENGTH = struct.Struct("<Q")


@attrs.frozen
class HeaderArray:
    """An array in a header. It is read on demand, because vocabularies are long.

    `ends` are the offsets from `start` at which the strings of an array of strings end.
    """

    file: GgufFile
    kind: int
    count: int
    start: int
    stop: int
    ends: Sequence[int] = attrs.field(default=(), repr=False)

    def __len__(self) -> int:
        return self.count

    def strings(self) -> tuple[str, ...]:
        data = self.file.read(self.start, self.stop)
        start, strings = 8, []
        try:
            for end in self.ends:
                strings.append(data[start:end].decode())
                start = end + 8
        except UnicodeDecodeError as error:
            raise CorruptFile(
                str(self.file.path), f"a string in its header is not UTF-8 ({error})."
            ) from error
        return tuple(strings)

    def numbers(self) -> tuple[int | float, ...]:
        return struct.unpack(f"<{self.count}{SCALARS[self.kind]}", self.file.read(self.start, self.stop))


Value: TypeAlias = int | float | bool | str | HeaderArray
"""A metadata value."""


@attrs.define
class HeaderReader:
    """A cursor in a memory-mapped header; `position` is the offset of the next byte to be read."""

    data: mmap
    file: GgufFile
    position: int = 0

    def raise_corrupt(self, reason: str) -> NoReturn:
        raise CorruptFile(str(self.file.path), reason)

    def unsigned(self, nbytes: int) -> int:
        """Read an unsigned little-endian integer of 4 or 8 bytes."""
        return int.from_bytes(self._take(nbytes), "little")

    def string(self, what: str, max_bytes: int = MAX_NAME) -> str:
        """Read a string: its length in 8 bytes, then UTF-8. `what` names it in errors."""
        length = self.unsigned(8)
        if length > max_bytes:
            self.raise_corrupt(
                f"{what} has the length {length}, which exceeds the limit of {max_bytes} bytes."
            )
        data = self._take(length)
        try:
            return data.decode()
        except UnicodeDecodeError as error:
            self.raise_corrupt(f"{what} is not UTF-8 ({error}).")

    def value(self, key: str) -> Value:
        kind = self.unsigned(4)
        if kind == STRING:
            return self.string(f"the value of {key!r}", MAX_TEXT)
        if kind == ARRAY:
            return self._array(key)
        if kind not in SCALARS:
            self.raise_corrupt(f"{key!r} has the unknown type {kind}.")
        if kind == BOOL and (flag := self.data[self.position : self.position + 1]) not in (b"\0", b"\1"):
            self.raise_corrupt(f"{key!r} must be true or false, not {flag!r}.")
        layout = f"<{SCALARS[kind]}"
        value: int | float | bool = struct.unpack(layout, self._take(struct.calcsize(layout)))[0]
        return value

    def _array(self, key: str) -> HeaderArray:
        kind, count = self.unsigned(4), self.unsigned(8)
        start, ends = self.position, array("Q")
        if kind == STRING:
            ends = self._skip_strings(key, count)
        elif kind in SCALARS:
            self._skip(count * struct.calcsize(f"<{SCALARS[kind]}"))
        else:
            self.raise_corrupt(f"{key!r} is an array of type {kind}, which is invalid.")
        if self.position - start > MAX_ARRAY:
            self.raise_corrupt(
                f"{key!r} is an array of {self.position - start} bytes, more than the limit of {MAX_ARRAY}."
            )
        return HeaderArray(self.file, kind, count, start, self.position, ends)

    def _skip_strings(self, key: str, count: int) -> "array[int]":
        """Skip strings, and return where they end. This loop dominates the time for reading a header."""
        if count > (self.file.size - self.position) // _LENGTH.size:
            self._ends()
        start = position = self.position
        length_at, data = _LENGTH.unpack_from, self.data
        ends = array("Q")  # takes no more memory than the lengths in the file
        append = ends.append
        try:
            for _ in range(count):
                position += 8 + length_at(data, position)[0]
                append(position - start)
        except (struct.error, OverflowError, IndexError):
            self.raise_corrupt(f"a string in {key!r} extends past the end of the file.")
        self._skip(position - start)
        return ends

    def _take(self, nbytes: int) -> bytes:
        start = self.position
        self._skip(nbytes)
        return self.data[start : self.position]

    def _skip(self, nbytes: int) -> None:
        if nbytes > self.file.size - self.position:
            self._ends()
        self.position += nbytes

    def _ends(self) -> NoReturn:
        self.raise_corrupt(f"it ends after {self.file.size} bytes, within its header.")
