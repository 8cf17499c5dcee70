"""Tests of decompression bombs and huge records in data files: refused by name, in 10 s and 1 GB."""

import json
import time
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from litgpt.adapters.training.data import parquet as reader
from litgpt.adapters.training.data.documents import documents
from litgpt.adapters.training.data.record_files import read_records
from litgpt.data import JSON
from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.training.errors import InvalidData
from tests.entrypoints.test_memory_bounds import bounded

LONG = "a" * 100_000


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limit the expanded size to a megabyte, so that none of these tests needs gigabytes."""
    monkeypatch.setattr(reader, "_FREE", 2**20)


def write(path: Path, columns: dict[str, Any], **options: Any) -> Path:
    parquet.write_table(pa.table(columns), path, **({"compression": "zstd"} | options))
    return path


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("compression", ["zstd", "gzip", "brotli"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_rows_that_expand_are_refused(tmp_path: Path, compression: str, dictionary: bool) -> None:  # noqa: FBT001 - a parameter
    path = tmp_path / "a.parquet"
    write(path, {"text": [LONG] * 100}, compression=compression, use_dictionary=dictionary)
    assert path.stat().st_size < 20_000
    with bounded(), pytest.raises(InvalidData, match=r"a\.parquet.*expand") as caught:
        for _ in read_records(path):
            pass
    assert len(str(caught.value)) < 300


@pytest.mark.usefixtures("small")
def test_rows_within_lists_that_expand_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"messages": [[{"role": "user", "content": LONG}]] * 100})
    with bounded(), pytest.raises(InvalidData, match=r"a\.parquet.*expand"):
        for _ in read_records(path):
            pass


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kind", [pa.string(), pa.list_(pa.string()), pa.null()])
def test_many_rows_of_nothing_are_refused(tmp_path: Path, kind: pa.DataType) -> None:
    path = write(tmp_path / "a.parquet", {"text": pa.nulls(100_000, kind)})
    with bounded(), pytest.raises(InvalidData, match=r"a\.parquet.*expand"):
        next(read_records(path))


def test_an_oversized_config_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", {"text": ["a" * 3 * 10**8]}, use_dictionary=False)
    with bounded(), pytest.raises(InvalidData, match=r"a\.parquet.*expand"):
        next(documents(path))


@pytest.mark.parametrize("rows_in_a_group", [300, 10_000])
@pytest.mark.parametrize("compression", ["zstd", "snappy", "none"])
def test_a_large_file_of_texts_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: str, rows_in_a_group: int
) -> None:
    monkeypatch.setattr(reader, "_FREE", 2**20)
    random = Random(0)  # noqa: S311 - not for secrets
    words = ["".join(random.choices("abcdefgh", k=6)) for _ in range(500)]
    texts = [" ".join(random.choices(words, k=200)) for _ in range(3000)]
    columns = {"text": texts, "system": ["Be brief. " * 20] * len(texts), "nothing": [None] * len(texts)}
    path = write(tmp_path / "a.parquet", columns, compression=compression, row_group_size=rows_in_a_group)
    assert [record.value["text"] for record in read_records(path)] == texts  # type: ignore[index]


def test_a_dictionary_of_large_values_is_decoded_a_few_rows_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.parquet", {"text": ["a" * 1000, "b" * 1000] * 500})
    monkeypatch.setattr(reader, "_PIECE", 10_000)
    sizes: list[int] = []
    real = parquet.ParquetFile.iter_batches

    def iter_batches(file: Any, batch_size: int, **options: Any) -> Any:
        sizes.append(batch_size)
        return real(file, batch_size, **options)

    monkeypatch.setattr(parquet.ParquetFile, "iter_batches", iter_batches)
    assert len([*read_records(path)]) == 1000
    assert sizes == [4]  # of 2,008 bytes each


def test_a_line_that_is_too_long_is_refused_without_reading_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.write(b'{"text": "a"}\n{"text": "')
        file.truncate(50 * 10**9)  # a sparse file
    began = time.monotonic()
    with bounded(), pytest.raises(InvalidData, match=r"a\.jsonl, line 2.*more than 268,435,456 bytes"):
        for _ in read_records(path):
            pass
    assert time.monotonic() - began < 60


def test_a_line_of_megabytes_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "a" * 5_000_000}) + "\n" + '{"text": "b"}')
    first, second = read_records(tmp_path / "a.jsonl")
    assert isinstance(first.value, dict)
    assert len(first.value["text"]) == 5_000_000
    assert second.where.endswith("line 2")


def test_a_json_list_that_no_memory_holds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with path.open("wb") as file:
        file.write(b"[")
        file.truncate(10**13)
    with bounded(), pytest.raises(UnsupportedOperation, match=r"a\.json.*JSON Lines or Parquet"):
        JSON(path).train_examples()
