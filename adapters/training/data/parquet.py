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
"""The maximum number of rows in a batch."""

_PIECE = 2**26
"""The maximum size of a batch, in bytes, if each row has the largest value of a dictionary."""

_FREE = 2**28
"""The decoded size, in bytes, that is allowed for a file of any size."""

_FACTOR = 500
"""The maximum ratio of decoded size to file size beyond `_FREE`. Text is compressed about tenfold."""

_ROW = 64
"""The minimum size of an empty row in Python, in bytes."""

_VALUE = 8
"""The minimum size of a value in Arrow, an offset or a number, in bytes."""

_MAX_FOOTER = 2**26
"""The maximum size of the metadata, in bytes; a row group of ten columns takes about 1,500."""

_DICTIONARY_PAGE = 2
"""PageType.DICTIONARY_PAGE of parquet.thrift."""


@attrs.frozen
class ColumnChunk:
    """A column chunk: an upper bound of its decoded size, and the offset of its first page."""

    decoded_bytes: int
    offset: int


def read_parquet(path: Path) -> Iterator[Record]:
    """Yield the rows of a file, without null fields.

    Compressed pages and dictionaries can expand a few hundred bytes to gigabytes. The sizes in the file's
    metadata are checked before a row group is read, and decoded bytes are counted.
    """
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise NotInstalled("Reading Parquet", "pyarrow", "pip install pyarrow") from error
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
                        fields = {name: _filled(item) for name, item in value.items()}
                        yield Record(f"{path}, record {number}", fields)
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
    """Return the column chunks of each row group; raise ValueError if the metadata are damaged.

    The numbers are the fields of FileMetaData in https://github.com/apache/parquet-format.
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
    """Return the batch size for a row group, whose rows can each be as large as its dictionaries."""
    dictionaries = sum(_dictionary_bytes(file, column) for column in columns)
    return max(1, min(_ROWS, _PIECE // max(1, dictionaries)))


def _dictionary_bytes(file: BinaryIO, column: ColumnChunk) -> int:
    """Return the uncompressed size of a column's dictionary page; 0 if its first page is of another type.

    The first two fields of a PageHeader are the type of the page and its uncompressed size.
    """
    file.seek(column.offset)
    header = dict(islice(CompactReader(file.read(16)).iter_fields(), 2))
    if header.keys() != {1, 2}:
        raise ValueError("a page does not begin with its header")
    return max(0, header[2]) if header[1] == _DICTIONARY_PAGE else 0


def _values(batch: "pa.RecordBatch", path: Path, before: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of a batch as dictionaries; `before` is the number of earlier rows in the file."""
    try:
        yield from batch.to_pylist()
    except Exception:  # noqa: BLE001 - retried per row to find the invalid one
        for number in range(batch.num_rows):
            try:
                (value,) = batch.slice(number, 1).to_pylist()
            except Exception as error:
                raise InvalidData(
                    f"{path}, record {before + number + 1}", f"it cannot be read: {error}."
                ) from error
            yield value


def _filled(value: Any) -> Any:
    """Return a value without null fields, at any depth."""
    if isinstance(value, dict):
        return {name: _filled(item) for name, item in value.items() if item is not None}
    return [_filled(item) for item in value] if isinstance(value, list) else value
