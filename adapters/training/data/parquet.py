"""Read records from Parquet in batches, with a bound on the decoded size."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import attrs

from litgpt.adapters.training.data.record_files import Record
from litgpt.adapters.training.data.thrift_compact import CompactReader, Struct
from litgpt.domain.errors import LitGPTError, NotInstalled
from litgpt.domain.formatting.units import format_bytes
from litgpt.domain.training.errors import InvalidData
from litgpt.domain.validation.untrusted_files import error_message

if TYPE_CHECKING:
    import pyarrow as pa

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

_MAX_FOOTER = 2**26
"""The bytes of metadata that are read; a row group of ten columns has about 1,500."""

_DICTIONARY_PAGE = 2
"""PageType.DICTIONARY_PAGE of parquet.thrift."""


@attrs.frozen
class ColumnChunk:
    """A column of a row group, as the file's metadata describes it.

    Attributes:
        decoded_bytes: The bytes that its pages and the values in them take.
        offset: Where its first page begins.

    """

    decoded_bytes: int
    offset: int


def read_parquet(path: Path) -> Iterator[Record]:
    """Yield the rows of a file; fields that are null are left out.

    Compressed pages and dictionaries let a file of some hundred bytes hold gigabytes. The sizes in the file's
    metadata are checked before a row group is read, and decoded bytes are counted.

    Raises:
        InvalidData: The file is not Parquet, is corrupt, or exceeds the bound on its decoded size.
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
            for group, columns in enumerate(read_footer(raw)):
                _check(path, sum(column.decoded_bytes for column in columns), most)
                for batch in file.iter_batches(batch_size=_batch_size(raw, columns), row_groups=[group]):
                    taken += batch.nbytes + _ROW * batch.num_rows
                    _check(path, taken, most)
                    for value in _values(batch, path, number):
                        number += 1
                        # All structs of a column have the same fields; fields that a record lacks are null.
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


def read_footer(file: BinaryIO) -> list[list[ColumnChunk]]:
    """Return the column chunks of each row group.

    The numbers are the fields of FileMetaData in https://github.com/apache/parquet-format.

    Raises:
        ValueError: The metadata are damaged, or larger than 64 MiB.

    """
    end = file.seek(-8, 2)
    size = int.from_bytes(file.read(4), "little")
    if size > min(end, _MAX_FOOTER):
        raise ValueError(f"its metadata have {size:,} bytes")
    file.seek(end - size)
    footer = CompactReader(file.read(size)).read_struct()
    try:
        return [[_column_chunk(column[3]) for column in group[1]] for group in footer[4]]
    except (KeyError, TypeError) as error:
        raise ValueError("its metadata lack a field or have one of a wrong type") from error


def _column_chunk(metadata: Struct) -> ColumnChunk:
    num_values, uncompressed_size = metadata[5], metadata[6]
    offset = metadata.get(11) or metadata[9]  # of the dictionary page, or of the first data page
    return ColumnChunk(max(0, uncompressed_size, _VALUE * num_values), offset)


def _batch_size(file: BinaryIO, columns: list[ColumnChunk]) -> int:
    """Return how many rows of a row group to decode at a time: each may be as large as its dictionaries."""
    dictionaries = sum(_dictionary_bytes(file, column) for column in columns)
    return max(1, min(_ROWS, _PIECE // max(1, dictionaries)))


def _dictionary_bytes(file: BinaryIO, column: ColumnChunk) -> int:
    """Return the size of a column's dictionary without compression; 0 if it begins with another page.

    The first two fields of a PageHeader are the type of the page and its uncompressed size.
    """
    file.seek(column.offset)
    header = dict(islice(CompactReader(file.read(16)).iter_fields(), 2))
    if header.keys() != {1, 2}:
        raise ValueError("a page does not begin with its header")
    return max(0, header[2]) if header[1] == _DICTIONARY_PAGE else 0


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
