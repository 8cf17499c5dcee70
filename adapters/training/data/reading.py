"""Records from files: JSON, JSON Lines and Parquet, each with the words that say where it stands."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from litgpt.domain.errors import NotInstalled
from litgpt.domain.training.errors import BadData, DataNotFound

RECORDS = (".json", ".jsonl", ".parquet")
"""What records are read from."""


@attrs.frozen
class Record:
    """A record, which may be anything yet.

    Attributes:
        where: The file, and the line or the number.
        value: What stands there.

    """

    where: str
    value: object


def read_records(path: Path) -> Iterator[Record]:
    """Yield what a file holds; of JSON Lines and Parquet no more than a piece is in memory at a time.

    Raises:
        DataNotFound: There is no such file.
        BadData: It is of another kind, or holds something else than its name says, or nothing at all.
        NotInstalled: It is Parquet, and pyarrow is not installed.

    """
    if not path.is_file():
        raise DataNotFound(str(path), hint="Pass a file that is on disk.")
    kinds = {".json": _json, ".jsonl": _lines, ".parquet": _parquet}
    if path.suffix not in kinds:
        raise BadData(str(path), f"its name says it is no data set: it ends in none of {', '.join(RECORDS)}.")
    read = None
    for read in kinds[path.suffix](path):
        yield read
    if read is None:
        raise BadData(str(path), "it has no records.")


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        BadData: It is not encoded in UTF-8.

    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadData(str(path), f"it is not encoded in UTF-8 ({error}).") from error


def _json(path: Path) -> Iterator[Record]:
    text = read_text(path)
    if text.lstrip()[:1] == "{":  # JSON Lines by another name, as some data sets on the Hub are
        yield from _lines(path)
        return
    try:
        listed = json.loads(text) if text.strip() else []
    except (ValueError, RecursionError) as error:
        raise BadData(str(path), f"it is not JSON: {error}.") from error
    if not isinstance(listed, list):
        raise BadData(str(path), "it is JSON and no list of records.")
    for number, value in enumerate(listed, 1):
        yield Record(f"{path}, record {number}", value)


def _lines(path: Path) -> Iterator[Record]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            where = f"{path}, line {number}"
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                if text.strip():
                    yield Record(where, json.loads(text))
            except UnicodeDecodeError as error:
                raise BadData(where, f"it is not encoded in UTF-8 ({error}).") from error
            except (ValueError, RecursionError) as error:
                raise BadData(where, f"it is not JSON: {error}.") from error


def _parquet(path: Path) -> Iterator[Record]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise NotInstalled("Reading Parquet", "pyarrow", "pip install 'litgpt[train]'") from error
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for value in batch.to_pylist():
                    number += 1
                    # All structs of a column have the same fields: those that one lacks are null in it.
                    yield Record(
                        f"{path}, record {number}", {name: _filled(one) for name, one in value.items()}
                    )
    except pa.ArrowException as error:
        raise BadData(str(path), f"it is not Parquet, or damaged: {error}.") from error


def _filled(value: Any) -> Any:
    """Return a value without fields that are null, at any depth."""
    if isinstance(value, dict):
        return {name: _filled(one) for name, one in value.items() if one is not None}
    return [_filled(one) for one in value] if isinstance(value, list) else value
