"""Thrift's compact protocol, in which Parquet writes its metadata and page headers.

pyarrow's `RowGroupMetaData.column` aborts the process if the metadata of the column are damaged: its bindings
do not catch exceptions of `parquet::RowGroupMetaData::ColumnChunk`. Its decoder does not have this fault.

Source: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

import struct
from collections.abc import Iterator
from typing import Any

Struct = dict[int, Any]
"""The fields of a struct by their numbers."""

_TRUE, _FALSE, _LIST, _SET, _STRUCT = 1, 2, 9, 10, 12

_MAX_DEPTH = 64
"""Levels of nested structs and lists, as in Thrift's own readers; Parquet has fewer than ten."""

_MAX_VARINT_BYTES = 10


class CompactReader:
    """Reads values from bytes, which may be corrupt. Each byte is read once, which bounds time and memory."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._position = 0
        self._depth = 0

    def read_struct(self) -> Struct:
        """Return a struct; raise ValueError if the bytes are not a struct in the compact protocol."""
        return dict(self.iter_fields())

    def iter_fields(self) -> Iterator[tuple[int, Any]]:
        """Yield the number and value of each field of a struct, in the order of the bytes."""
        number = 0
        while header := self._next_byte():
            delta, kind = header >> 4, header & 0x0F
            number = number + delta if delta else self._signed()
            yield number, kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind)

    def _value(self, kind: int) -> Any:
        match kind:
            case 1 | 2 | 3:  # a Boolean within a list, or a byte
                return self._next_byte()
            case 4 | 5 | 6:
                return self._signed()
            case 7:
                return struct.unpack("<d", self._bytes(8))[0]
            case 8:
                return self._bytes(self._unsigned())
        return self._nested(kind)

    def _nested(self, kind: int) -> Any:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise ValueError("its metadata is nested too deeply")
        value: Any
        if kind == _STRUCT:
            value = self.read_struct()
        elif kind in (_LIST, _SET):
            value = self._list()
        else:  # maps, which Parquet does not have, or a damaged byte
            raise ValueError(f"its metadata has a value of the unknown type {kind}")
        self._depth -= 1
        return value

    def _list(self) -> list[Any]:
        header = self._next_byte()
        size = header >> 4
        if size == 0x0F:
            size = self._unsigned()
        return [self._value(header & 0x0F) for _ in range(size)]

    def _signed(self) -> int:
        value = self._unsigned()
        return value >> 1 ^ -(value & 1)  # zigzag encoding

    def _unsigned(self) -> int:
        value = 0
        for shift in range(0, 7 * _MAX_VARINT_BYTES, 7):
            byte = self._next_byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise ValueError("its metadata has a number of more than 64 bits")

    def _next_byte(self) -> int:
        return self._bytes(1)[0]

    def _bytes(self, count: int) -> bytes:
        end = self._position + count
        if end > len(self._raw):
            raise ValueError("its metadata is cut short")
        start, self._position = self._position, end
        return self._raw[start:end]
