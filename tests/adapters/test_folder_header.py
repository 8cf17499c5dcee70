"""The safetensors header: what it says, and every way in which it can lie."""

import json
from pathlib import Path
from typing import Any

import pytest

from litgpt.adapters.checkpoints.safetensors_header import Entry, header_size, parse_header
from litgpt.domain.errors import DamagedFile
from litgpt.domain.tensors import TensorInfo


def described(dtype: Any = "F32", shape: Any = (2, 2), start: Any = 0, end: Any = 16) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def header(described: Any) -> bytes:
    text = described if isinstance(described, bytes) else json.dumps(described).encode()
    return len(text).to_bytes(8, "little") + text


def parse(what: Any, *, data: int = 16) -> dict[str, Entry]:
    raw = header(what)
    return parse_header(raw, file_size=len(raw) + data, where="w.safetensors")


def test_a_tensor_is_where_the_header_says_counted_from_the_beginning_of_the_file() -> None:
    raw = header({"b": described("BF16", [3], 16, 22), "a": described(), "__metadata__": {"format": "pt"}})
    entries = parse_header(raw + b"the weights", file_size=len(raw) + 22, where="w")
    assert entries == {
        "a": Entry(TensorInfo((2, 2), "F32", 16), len(raw), len(raw) + 16),
        "b": Entry(TensorInfo((3,), "BF16", 6), len(raw) + 16, len(raw) + 22),
    }
    assert list(entries) == ["a", "b"]


def test_the_first_eight_bytes_say_how_much_of_the_file_is_header() -> None:
    raw = header({"a": described()})
    assert header_size(raw[:8], file_size=10_000, where="w") == len(raw)


def test_an_empty_tensor_and_one_without_dimensions_are_right() -> None:
    entries = parse({"nothing": described("F32", [0, 7], 0, 0), "one": described("F64", [], 0, 8)}, data=8)
    assert [entry.info.numel for entry in entries.values()] == [0, 1]


def test_numbers_of_less_than_a_byte_are_measured_in_bits() -> None:
    assert parse({"a": described("F4", [32], 0, 16)})["a"].info.numel == 32


def test_it_finds_what_the_format_s_own_library_wrote(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors import safe_open
    from safetensors.torch import save_file

    dtypes = (torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool)
    tensors = {f"t{n}": torch.ones(n + 1, 3, dtype=dtype) for n, dtype in enumerate(dtypes)}
    save_file(tensors, tmp_path / "w.safetensors", metadata={"format": "pt"})
    raw = (tmp_path / "w.safetensors").read_bytes()
    entries = parse_header(raw, file_size=len(raw), where="w")
    with safe_open(tmp_path / "w.safetensors", "pt") as theirs:
        assert set(entries) == set(theirs.keys())
        for name, entry in entries.items():
            slice_ = theirs.get_slice(name)
            assert (entry.info.stored_as, list(entry.info.shape)) == (slice_.get_dtype(), slice_.get_shape())
            there = torch.frombuffer(bytearray(raw[entry.start : entry.end]), dtype=tensors[name].dtype)
            assert torch.equal(there.view(entry.info.shape), tensors[name])


LIES = {
    "no JSON": (b'{"a": ', "no JSON"),
    "no UTF-8": (b'{"\xff": 1}', "no JSON"),
    "no object": ([described()], "no JSON object"),
    "nested too deeply": (b"[" * 100_000, "no JSON"),
    "a name that comes twice": (b'{"a": 1, "b": 2, "a": 3}', "'a' comes twice"),
    "a number too long to be one": (b'{"a": ' + b"9" * 5000 + b"}", "no JSON"),
    "metadata that is no text": ({"__metadata__": {"format": 1}}, "__metadata__"),
    "a tensor without a dtype": ({"a": {"shape": [4], "data_offsets": [0, 16]}}, "'a' is not described"),
    "a tensor with more to it": ({"a": {**described(), "strides": [1]}}, "'a' is not described"),
    "a tensor that is a number": ({"a": 3}, "'a' is not described"),
    "a dtype that is unknown": ({"a": described("Q4_K")}, "Q4_K"),
    "a dtype that is no text": ({"a": described(["F32"])}, "dtype"),
    "a negative size": ({"a": described(shape=[-2, -2])}, "shape"),
    "a size that is no number": ({"a": described(shape=[2.0, 2])}, "shape"),
    "a size that is a truth": ({"a": described(shape=[True, 4])}, "shape"),
    "a shape that is no list": ({"a": described(shape=4)}, "shape"),
    "a shape of too many sizes": ({"a": described(shape=[1] * 65, end=4)}, "shape"),
    "a size beyond any memory": ({"a": described(shape=[2**64, 0], end=0)}, "shape"),
    "offsets that are one": ({"a": {**described(), "data_offsets": [16]}}, "data_offsets"),
    "offsets that go back": ({"a": described(start=16, end=0)}, "data_offsets"),
    "offsets before the data": ({"a": described(start=-16, end=0)}, "data_offsets"),
    "fewer bytes than the shape needs": ({"a": described(shape=[2, 3])}, "does not take 16 bytes"),
    "more bytes than the shape needs": ({"a": described(shape=[2])}, "does not take 16 bytes"),
    "a tensor over another": ({"a": described(end=16), "b": described(start=8, end=24)}, "overlaps"),
    "two names for the same bytes": ({"a": described(), "b": described()}, "overlaps"),
    "a hole": ({"a": described(shape=[1], end=4), "b": described(shape=[1], start=12, end=16)}, "hole"),
    "a hole at the beginning": ({"a": described(shape=[1], start=12, end=16)}, "hole"),
    "tensors beyond the end of the file": ({"a": described(shape=[2, 4], end=32)}, "end at byte"),
    "tensors short of the end of the file": ({"a": described(shape=[2], end=8)}, "end at byte"),
}


@pytest.mark.parametrize(("what", "said"), LIES.values(), ids=LIES)
def test_a_header_that_cannot_be_true_is_refused(what: Any, said: str) -> None:
    with pytest.raises(DamagedFile, match=r"w\.safetensors is damaged") as caught:
        parse(what)
    assert said in str(caught.value)


@pytest.mark.parametrize("there", [0, 7, 8, 20])
def test_a_file_that_ends_within_its_header_is_refused(there: int) -> None:
    raw = header({"a": described()})[:there]
    with pytest.raises(DamagedFile, match=str(there)):
        parse_header(raw, file_size=there, where="w")


def test_a_header_of_which_too_little_was_handed_in_is_refused() -> None:
    raw = header({"a": described()})
    with pytest.raises(DamagedFile, match="of which 20 are there"):
        parse_header(raw[:20], file_size=len(raw) + 16, where="w")


def test_a_header_that_is_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(DamagedFile, match="100000000"):
        header_size((100_000_001).to_bytes(8, "little"), file_size=10**12, where="w")


def test_a_header_that_is_longer_than_its_file_is_refused_before_it_is_read() -> None:
    with pytest.raises(DamagedFile, match="200 bytes, but the file ends after 100"):
        header_size((200).to_bytes(8, "little"), file_size=100, where="w")


def test_a_name_without_end_does_not_fill_the_error() -> None:
    with pytest.raises(DamagedFile) as caught:
        parse({"x" * 1_000_000: described("Q4_K")})
    assert len(str(caught.value)) < 1000
