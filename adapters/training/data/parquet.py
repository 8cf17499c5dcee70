"""Records from Parquet, a row group and a piece of it at a time, with a bound on what a file expands to."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from litgpt.adapters.training.data.record_files import Record
from litgpt.domain.errors import LitGPTError, NotInstalled
from litgpt.domain.formatting.units import format_bytes
from litgpt.domain.training.errors import InvalidData
from litgpt.domain.validation.untrusted_files import error_message

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.parquet import RowGroupMetaData

_ROWS = 1024
"""How many rows are decoded at a time, at most."""

_PIECE = 2**26
"""The bytes that the rows decoded at a time may take if each has the largest value of a dictionary."""

_FREE = 2**28
"""The bytes that any file may expand to, however small it is."""

_FACTOR = 500
"""How many times its own size a file may expand to beyond that. Text is compressed about tenfold."""

_ROW = 64
"""The bytes that a row of nothing takes in Python, at least."""

_VALUE = 8
"""The bytes that a value takes in Arrow, at least: an offset or a number."""

_DICTIONARY_PAGE = 2  # PageType of parquet.thrift
_I32_FIELD = 0x15  # the next field, an i32, in Thrift's compact protocol


def read_parquet(path: Path) -> Iterator[Record]:
    """Yield the rows of a file; fields that are null are left out.

    Compressed pages and dictionaries let a file of some hundred bytes hold gigabytes. The sizes in the file's
    metadata are checked before a row group is read, and what comes out is counted.

    Raises:
        BadData: It is not Parquet, is damaged, or expands without bounds.
        NotInstalled: pyarrow is not installed.

    """
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise NotInstalled("Reading Parquet", "pyarrow", "pip install 'litgpt[train]'") from error
    number = taken = 0
    most = max(_FREE, _FACTOR * path.stat().st_size)
    try:
        with path.open("rb") as raw, parquet.ParquetFile(path) as file:
            _check(path, file.metadata.num_rows * _ROW, most)
            for group in range(file.metadata.num_row_groups):
                found = file.metadata.row_group(group)
                _check(path, _expanded(found), most)
                for batch in file.iter_batches(batch_size=_rows(raw, found), row_groups=[group]):
                    taken += batch.nbytes + _ROW * batch.num_rows
                    _check(path, taken, most)
                    for value in _values(batch, path, number):
                        number += 1
                        # All structs of a column have the same fields: those that one lacks are null in it.
                        yield Record(
                            f"{path}, record {number}", {name: _filled(one) for name, one in value.items()}
                        )
    except LitGPTError:
        raise
    except Exception as error:
        after = f" after record {number}" if number else ""
        raise InvalidData(
            str(path), f"it is not Parquet, or it is damaged{after} ({error_message(error)})."
        ) from error


def _check(path: Path, expanded: int, most: int) -> None:
    if expanded > most:
        have = f"its {format_bytes(path.stat().st_size)} expand to more than {format_bytes(most)}"
        raise InvalidData(
            str(path), f"{have}, as no text does. If it is sound, write it with less compression."
        )


def _expanded(group: "RowGroupMetaData") -> int:
    """Return the bytes that a row group's pages and the values in them take, as its metadata has it."""
    columns = [group.column(number) for number in range(group.num_columns)]
    return sum(max(one.total_uncompressed_size, _VALUE * one.num_values) for one in columns)


def _rows(file: BinaryIO, group: "RowGroupMetaData") -> int:
    """Return how many rows of a row group to decode at a time: each may be as large as its dictionaries."""
    dictionaries = sum(_dictionary_bytes(file, group.column(one)) for one in range(group.num_columns))
    return max(1, min(_ROWS, _PIECE // max(1, dictionaries)))


def _dictionary_bytes(file: BinaryIO, column: Any) -> int:
    """Return the size of a column's dictionary without compression; 0 if it begins with another page.

    A page begins with a PageHeader in Thrift's compact protocol, whose first two fields are the kind of page
    and its uncompressed size (https://github.com/apache/parquet-format).
    """
    file.seek(column.dictionary_page_offset or column.data_page_offset)
    header = iter(file.read(16))
    kind, uncompressed = (_i32(header) for _ in range(2))
    return uncompressed if kind == _DICTIONARY_PAGE else 0


def _i32(header: Iterator[int]) -> int:
    if next(header, None) != _I32_FIELD:
        raise ValueError("a page does not begin with its header")
    value = shift = 0
    for byte in header:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value >> 1 ^ -(value & 1)  # zigzag: positive and negative numbers take turns
    raise ValueError("the header of a page is cut short")


def _values(batch: "pa.RecordBatch", path: Path, before: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of a piece of a Parquet file as dictionaries; `before` rows precede them."""
    try:
        yield from batch.to_pylist()
    except Exception:  # noqa: BLE001 - which record it is, is found out one by one
        for number in range(batch.num_rows):
            try:
                (value,) = batch.slice(number, 1).to_pylist()
            except Exception as error:
                raise InvalidData(
                    f"{path}, record {before + number + 1}", f"it cannot be read: {error}."
                ) from error
            yield value


def _filled(value: Any) -> Any:
    """Return a value without fields that are null, at any depth."""
    if isinstance(value, dict):
        return {name: _filled(one) for name, one in value.items() if one is not None}
    return [_filled(one) for one in value] if isinstance(value, list) else value
