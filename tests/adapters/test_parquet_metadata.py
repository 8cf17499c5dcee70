"""Tests of Parquet metadata: equal to pyarrow's, and without a crash for damaged files."""

import base64
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from litgpt.adapters.training.data.parquet import ColumnChunk, read_footer
from litgpt.adapters.training.data.record_files import read_records
from litgpt.adapters.training.data.thrift_compact import CompactReader
from litgpt.domain.training.errors import InvalidData

SOUND = base64.b64decode(
    "UEFSMRUAFRYVFiwVAhUAFQYVBhwAAAACAAAAAgEBAAAAYRUEGSw1ABgGc2NoZW1hFQIAFQwlAhgEdGV4dCUATBwAAAAWAhkcGRwmABwVDBkl"
    "BgAZGAR0ZXh0FQAWAhY8FjwmCEkcFQAVABUCADwWAhkGGSYAAgAAABY8FgImCBY8ACggcGFycXVldC1jcHAtYXJyb3cgdmVyc2lvbiAyNi4w"
    "LjEZHBwAAACIAAAAUEFSMQ=="
)
"""A file with one record, {"text": "a"}, as pyarrow 26 wrote it."""

FATAL = [(52, 2), (52, 3), (53, 0), *((54, bit) for bit in range(7)), (112, 4), (113, 5), (113, 6)]
"""Bits of `SOUND` which, when flipped, make `RowGroupMetaData.column` of pyarrow 26 abort the process."""


def test_the_file_that_is_damaged_below_is_sound(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(SOUND)
    assert [record.value for record in read_records(tmp_path / "a.parquet")] == [{"text": "a"}]


@pytest.mark.parametrize(("at", "bit"), FATAL)
def test_damage_that_ended_the_process_is_refused(tmp_path: Path, at: int, bit: int) -> None:
    damaged = bytearray(SOUND)
    damaged[at] ^= 1 << bit
    (tmp_path / "a.parquet").write_bytes(damaged)
    with pytest.raises(InvalidData, match=r"a\.parquet.*damaged"):
        list(read_records(tmp_path / "a.parquet"))


def test_every_third_bit_of_a_file_can_be_flipped(tmp_path: Path) -> None:
    path, refused = tmp_path / "a.parquet", 0
    for bit in range(0, 8 * len(SOUND), 3):
        damaged = bytearray(SOUND)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with suppress(InvalidData):
            list(read_records(path))
            continue
        refused += 1
    assert refused > 150


TABLES: dict[str, dict[str, Any]] = {
    "texts": {"text": ["a", None, "long " * 50] * 40},
    "numbers": {"one": list(range(120)), "two": [0.5] * 120, "three": [True, None] * 60},
    "nested": {"messages": [[{"role": "user", "content": "a"}], None, []] * 40},
    "nulls": {"text": [None] * 120},
    "empty": {"text": pa.array([], pa.string())},
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("dictionary", [True, False])
def test_columns_of_a_sound_file_are_those_that_pyarrow_reads(
    tmp_path: Path,
    name: str,
    dictionary: bool,  # noqa: FBT001 - a parameter
) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pa.table(TABLES[name]), path, use_dictionary=dictionary, row_group_size=50)
    with path.open("rb") as file:
        read = read_footer(file)
    metadata = parquet.ParquetFile(path).metadata
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    expected = [[group.column(number) for number in range(group.num_columns)] for group in groups]
    assert read == [
        [
            ColumnChunk(
                max(column.total_uncompressed_size, 8 * column.num_values),
                column.dictionary_page_offset or column.data_page_offset,
            )
            for column in columns
        ]
        for columns in expected
    ]
    assert len(read) == (1 if name == "empty" else 3)


def test_an_empty_table_has_no_records(tmp_path: Path) -> None:
    parquet.write_table(pa.table(TABLES["empty"]), tmp_path / "a.parquet")
    with pytest.raises(InvalidData, match="no records"):
        list(read_records(tmp_path / "a.parquet"))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "cut short"),
        (b"\x15", "cut short"),
        (b"\x18\xff\xff\xff\x7fabc", "cut short"),  # a text of 268 million bytes
        (b"\x19\xf5\xff\xff\xff\xff\x7f\x00", "cut short"),  # a list of 34 billion numbers
        (b"\x15" + b"\xff" * 11, "64 bits"),
        (b"\x1c" * 10_000, "nested too deeply"),
        (b"\x1b\x01\x55\x00\x00", "unknown type 11"),
    ],
)
def test_bytes_that_are_not_a_struct_are_refused(raw: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CompactReader(raw).read_struct()


def test_every_type_of_field_is_read() -> None:
    raw = bytes.fromhex(
        "11 12 1301 1403 15feffffff0f 1604 17000000000000e03f 1802abcd 19310102 01 1c1502 00 00"
    )
    assert CompactReader(raw).read_struct() == {
        1: True,
        2: False,
        3: 1,
        4: -2,
        5: 2**31 - 1,
        6: 2,
        7: 0.5,
        8: b"\xab\xcd",
        9: [1, 2, 1],
        10: {1: 1},
    }
