"""Tests of the safetensors header: its values, and every invalid one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from litgpt.adapters.checkpoints.files.safetensors_header import TensorEntry, parse_header, read_header
from litgpt.domain.errors import CorruptFile
from litgpt.domain.weights.tensor_info import TensorInfo

Parse: TypeAlias = Callable[..., dict[str, TensorEntry]]


def described(dtype: Any = "F32", shape: Any = (2, 2), start: Any = 0, end: Any = 16) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def header(described: Any) -> bytes:
    text = described if isinstance(described, bytes) else json.dumps(described).encode()
    return len(text).to_bytes(8, "little") + text


@pytest.fixture(params=["here", "on the Hub"])
def parse(request: pytest.FixtureRequest, tmp_path: Path) -> Parse:
    """Return a parser of the header of a whole file, or of a downloaded beginning of one."""

    def parse(content: Any, data: int = 16) -> dict[str, TensorEntry]:
        raw = content if isinstance(content, bytes) else header(content)
        if request.param == "on the Hub":
            return parse_header(raw, file_size=len(raw) + data, location="w.safetensors")
        (tmp_path / "w.safetensors").write_bytes(raw + bytes(data))
        return read_header(tmp_path / "w.safetensors")

    return parse


def test_tensor_offsets_are_relative_to_the_file(parse: Parse) -> None:
    raw = header({"b": described("BF16", [3], 16, 22), "a": described(), "__metadata__": {"format": "pt"}})
    entries = parse(raw, 22)
    assert entries == {
        "a": TensorEntry(TensorInfo((2, 2), "F32", 16), len(raw)),
        "b": TensorEntry(TensorInfo((3,), "BF16", 6), len(raw) + 16),
    }
    assert list(entries) == ["a", "b"]


def test_an_empty_tensor_and_one_without_dimensions_are_right(parse: Parse) -> None:
    entries = parse({"nothing": described("F32", [0, 7], 0, 0), "one": described("F64", [], 0, 8)}, 8)
    assert {name: entry.info.numel for name, entry in entries.items()} == {"nothing": 0, "one": 1}


@pytest.mark.parametrize(
    ("dtype", "bits"), [("F4", 4), ("F6_E2M3", 6), ("BOOL", 8), ("F8_E8M0", 8), ("C64", 64)]
)
def test_the_bytes_of_a_tensor_follow_from_the_bits_of_its_dtype(parse: Parse, dtype: str, bits: int) -> None:
    end = 32 * bits // 8
    assert parse({"a": described(dtype, [32], 0, end)}, end)["a"].info == TensorInfo((32,), dtype, end)


def test_it_reads_files_of_the_formats_own_library(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors import safe_open
    from safetensors.torch import save_file

    dtypes = (torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool)
    tensors = {f"t{n}": torch.ones(n + 1, 3, dtype=dtype) for n, dtype in enumerate(dtypes)}
    save_file(tensors, tmp_path / "w.safetensors", metadata={"format": "pt"})
    raw = (tmp_path / "w.safetensors").read_bytes()
    entries = read_header(tmp_path / "w.safetensors")
    with safe_open(tmp_path / "w.safetensors", "pt") as reference:
        assert set(entries) == set(reference.keys())
        for name, entry in entries.items():
            slice_ = reference.get_slice(name)
            assert (entry.info.storage_format, list(entry.info.shape)) == (
                slice_.get_dtype(),
                slice_.get_shape(),
            )
            actual = torch.frombuffer(
                bytearray(raw[entry.start : entry.start + entry.info.nbytes]), dtype=tensors[name].dtype
            )
            assert torch.equal(actual.view(entry.info.shape), tensors[name])


INVALID_HEADERS = {
    "no JSON": b'{"a": ',
    "no UTF-8": b'{"\xff": 1}',
    "no object": [described()],
    "nested too deeply": b"[" * 100_000,
    "a name that comes twice": b'{"a": 1, "b": 2, "a": 3}',
    "a number too long to be one": b'{"a": ' + b"9" * 5000 + b"}",
    "metadata that is not a string": {"__metadata__": {"format": 1}},
    "a tensor without a dtype": {"a": {"shape": [4], "data_offsets": [0, 16]}},
    "a tensor that is a number": {"a": 3},
    "a dtype that is unknown": {"a": described("Q4_K")},
    "a dtype that is not a string": {"a": described(["F32"])},
    "a negative size": {"a": described(shape=[-2, -2])},
    "a size that is not an integer": {"a": described(shape=[2.0, 2])},
    "a size that is a truth": {"a": described(shape=[True, 4])},
    "a size that multiplies text": {"a": described(shape=["x", 10**11])},
    "a shape that is not a list": {"a": described(shape=4)},
    "a size beyond any memory": {"a": described(shape=[2**64, 0], end=0)},
    "sizes whose product is beyond any memory": {"a": described(shape=[2**40] * 100_000)},
    "offsets that are one": {"a": {**described(), "data_offsets": [16]}},
    "offsets that go back": {"a": described(start=16, end=0)},
    "offsets before the data": {"a": described(start=-16, end=0)},
    "fewer bytes than the shape needs": {"a": described(shape=[2, 3])},
    "more bytes than the shape needs": {"a": described(shape=[2])},
    "numbers that do not fill their last byte": {"a": described("F4", [31])},
    "a tensor over another": {"a": described(end=16), "b": described(start=8, end=24)},
    "two names for the same bytes": {"a": described(), "b": described()},
    "a hole": {"a": described(shape=[1], end=4), "b": described(shape=[1], start=12, end=16)},
    "a hole at the beginning": {"a": described(shape=[1], start=12, end=16)},
    "tensors beyond the end of the file": {"a": described(shape=[2, 4], end=32)},
    "tensors short of the end of the file": {"a": described(shape=[2], end=8)},
    "a name without end": {"x" * 1_000_000: described("Q4_K")},
}


@pytest.mark.parametrize("content", INVALID_HEADERS.values(), ids=INVALID_HEADERS)
def test_an_invalid_header_is_refused_with_a_short_message(parse: Parse, content: Any) -> None:
    with pytest.raises(CorruptFile, match=r"w\.safetensors is damaged: its safetensors header") as caught:
        parse(header(content))
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("available", [0, 7, 8, 20])
def test_a_file_that_ends_within_its_header_is_refused(parse: Parse, available: int) -> None:
    with pytest.raises(CorruptFile, match="header"):
        parse(header({"a": described()})[:available], 0)


@pytest.mark.parametrize("length", [200, 100_000_001, 2**64 - 1])
def test_a_header_that_is_longer_than_its_file_or_than_any_is_refused_unread(
    parse: Parse, length: int
) -> None:
    with pytest.raises(CorruptFile, match=r"header (too large|length)"):
        parse(length.to_bytes(8, "little") + b"{}", 90)


def test_a_header_of_which_too_little_was_downloaded_is_refused() -> None:
    raw = header({"a": described()})
    with pytest.raises(CorruptFile, match="header"):
        parse_header(raw[:20], file_size=len(raw) + 16, location="w")


@pytest.mark.parametrize("size", [2**62, 10**30])
def test_an_impossible_reported_file_size_is_refused(size: int) -> None:
    with pytest.raises(CorruptFile, match="w is damaged"):
        parse_header(header({"a": described()}), file_size=size, location="w")


def test_a_file_on_the_hub_takes_the_space_of_its_header(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    raw = header({"a": described("U8", [2**40], 0, 2**40)})
    assert parse_header(raw, file_size=len(raw) + 2**40, location="w")["a"].info.nbytes == 2**40
    assert not list(tmp_path.iterdir())
