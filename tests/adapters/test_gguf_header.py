"""Tests of the GGUF header: its values, and every invalid one."""

import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from litgpt.adapters.checkpoints.gguf.reader.header import read_header
from litgpt.adapters.checkpoints.gguf.reader.header_reader import HeaderArray
from litgpt.domain.errors import CorruptFile, LitGPTError, MissingFile, UnsupportedModel
from tests.adapters.gguf_files import header, key, tensor, text, write_gguf

U32, F32, BOOL, STRING, ARRAY = 4, 6, 7, 8, 9


def write(path: Path, raw: bytes, *, weights: int = 0) -> Path:
    path.write_bytes(raw + bytes(weights))
    return path


def test_headers_of_the_gguf_package_are_read(tmp_path: Path) -> None:
    import gguf

    path = write_gguf(tmp_path / "m.gguf", stored_as="Q8_0")
    header = read_header(path)
    oracle = gguf.GGUFReader(path)
    assert [
        (tensor.name, tensor.quant_type.name, tensor.start, tensor.nbytes) for tensor in header.tensors
    ] == [
        (tensor.name, tensor.tensor_type.name, tensor.data_offset, tensor.n_bytes)
        for tensor in oracle.tensors
    ]
    assert [tensor.shape for tensor in header.tensors] == [
        tuple(tensor.shape[::-1]) for tensor in oracle.tensors
    ]
    for name, value in header.metadata.items():
        reference = oracle.fields[name].contents()
        if isinstance(value, HeaderArray):
            actual = value.strings() if value.kind == STRING else value.numbers()
            assert list(actual) == reference
        else:
            assert value == reference
    assert set(oracle.fields) - set(header.metadata) == {"GGUF.version", "GGUF.tensor_count", "GGUF.kv_count"}


def test_every_type_of_value_is_read(tmp_path: Path) -> None:
    kinds = {"B": 0, "b": 1, "H": 2, "h": 3, "I": 4, "i": 5, "f": 6, "?": 7, "Q": 10, "q": 11, "d": 12}
    values = {"b": -3, "h": -300, "i": -70_000, "q": -(2**40), "f": 0.5, "d": 0.1, "?": True}
    keys = [key(code, kind, struct.pack(f"<{code}", values.get(code, 7))) for code, kind in kinds.items()]
    keys.append(key("text", STRING, text("né 🦙")))
    keys.append(key("texts", ARRAY, struct.pack("<IQ", STRING, 2) + text("") + text("b\0c")))
    keys.append(key("numbers", ARRAY, struct.pack("<IQ3h", 3, 3, 1, -2, 3)))
    keys.append(key("nothing", ARRAY, struct.pack("<IQ", STRING, 0)))
    actual = read_header(write(tmp_path / "m", header(keys=tuple(keys)))).metadata
    arrays = {name: value for name, value in actual.items() if isinstance(value, HeaderArray)}
    assert {name: value for name, value in actual.items() if name not in arrays} == {
        **{code: values.get(code, 7) for code in kinds},
        "text": "né 🦙",
    }
    assert actual["?"] is True
    assert arrays["texts"].strings() == ("", "b\0c")
    assert arrays["numbers"].numbers() == (1, -2, 3)
    assert arrays["nothing"].strings() == ()


def test_version_2_is_read_like_version_3(tmp_path: Path) -> None:
    assert read_header(write(tmp_path / "m", header(version=2))).tensors == ()


def test_weights_start_at_the_alignment(tmp_path: Path) -> None:
    aligned = key("general.alignment", U32, struct.pack("<I", 1024))
    raw = header(keys=(aligned,), tensors=(tensor("w", (4,), offset=1024),))
    path = write(tmp_path / "m", raw.ljust(1024, b"\0"), weights=1024 + 16)
    assert [tensor.start for tensor in read_header(path).tensors] == [2048]


@pytest.mark.parametrize(
    ("raw", "error", "message"),
    [
        (b"", CorruptFile, "not a GGUF file"),
        (b"GG", CorruptFile, "not a GGUF file"),
        (b"PK\3\4 a zip archive that is long enough", CorruptFile, "not a GGUF file"),
        (b"GGUF", CorruptFile, "within its header"),
        (b"GGUF\3\0\0\0", CorruptFile, "within its header"),
        (header(version=1), UnsupportedModel, "version 1"),
        (header(version=4), UnsupportedModel, "version 4"),
        (header(version=3 << 24), UnsupportedModel, "big-endian"),
        (header(version=2 << 24), UnsupportedModel, "big-endian"),
    ],
)
def test_unsupported_gguf_files_are_refused(
    raw: bytes, error: type[LitGPTError], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message) as caught:
        read_header(write(tmp_path / "model.gguf", raw))
    assert "model.gguf" in str(caught.value)


def test_a_big_endian_file_of_the_gguf_package_is_refused(tmp_path: Path) -> None:
    import gguf

    writer = gguf.GGUFWriter(tmp_path / "m", "llama", endianess=gguf.GGUFEndian.BIG)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    with pytest.raises(UnsupportedModel, match="big-endian"):
        read_header(tmp_path / "m")


def array(kind: int, count: int, elements: bytes = b"") -> bytes:
    return key("k", ARRAY, struct.pack("<IQ", kind, count) + elements)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (key("", U32, bytes(4)), "no name"),
        (key(b"\xff", U32, bytes(4)), "a key is not UTF-8"),
        (key("k", 13, bytes(4)), "type 13"),
        (key("k", BOOL, b"\2"), "true or false"),
        (key("k", STRING, text(b"\xff")), "'k' is not UTF-8"),
        (key("k", STRING, struct.pack("<Q", 1 << 20)), "within its header"),
        (key("k", STRING, struct.pack("<Q", 1 << 63)), "the length 9223372036854775808"),
        (struct.pack("<Q", 1 << 40), "the length 1099511627776"),
        (array(ARRAY, 1, struct.pack("<IQ", U32, 0)), "array of type 9"),
        (array(77, 1), "array of type 77"),
        (array(U32, 1 << 40), "within its header"),
        (array(U32, (1 << 64) - 1), "within its header"),
        (array(STRING, (1 << 64) - 1), "within its header"),
        (array(STRING, 2, text("a") + struct.pack("<Q", 1 << 20)), "within its header"),
        (array(STRING, 2, struct.pack("<Q", (1 << 64) - 1)), "past the end"),
    ],
)
def test_an_invalid_value_is_damage(entry: bytes, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "m", header(keys=(entry,)), weights=64)
    with pytest.raises(CorruptFile, match=message):
        read_header(path)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (key("k", STRING, struct.pack("<Q", (1 << 26) + 1)), "'k' has the length 67108865"),
        (array(U32, (1 << 26) + 1), "'k' is an array of 268435460 bytes"),
        (struct.pack("<Q", 1 << 16), "a key has the length 65536"),
    ],
)
def test_a_text_or_array_longer_than_any_vocabulary_is_damage(
    entry: bytes, message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "m", header(keys=(entry,)))
    os.truncate(path, 1 << 29)  # so the file is long enough, though nothing was written
    with pytest.raises(CorruptFile, match=message):
        read_header(path)


def test_a_key_that_is_given_twice_is_damage(tmp_path: Path) -> None:
    once = key("k", U32, bytes(4))
    with pytest.raises(CorruptFile, match="'k' appears twice"):
        read_header(write(tmp_path / "m", header(keys=(once, once))))


@pytest.mark.parametrize("counts", [{"key_count": 1 << 40}, {"tensor_count": 1 << 63}, {"key_count": 9}])
def test_more_keys_or_tensors_than_there_is_room_for_are_damage(
    counts: dict[str, int], tmp_path: Path
) -> None:
    with pytest.raises(CorruptFile, match=r"specifies \d+ tensors and \d+ keys"):
        read_header(
            write(
                tmp_path / "m",
                header(key_count=counts.get("key_count"), tensor_count=counts.get("tensor_count")),
                weights=64,
            )
        )


@pytest.mark.parametrize(
    ("entries", "error", "message"),
    [
        ((tensor("", (4,)),), CorruptFile, "no name"),
        ((tensor("w", (4,)), tensor("w", (4,), offset=32)), CorruptFile, "'w' appears twice"),
        ((tensor("w", ()),), CorruptFile, "0 dimensions"),
        ((tensor("w", (1, 1, 1, 1, 1)),), CorruptFile, "5 dimensions"),
        ((tensor("w", (4, 0)),), CorruptFile, r"shape \[0, 4\]"),
        ((tensor("w", (33,), 8),), CorruptFile, r"cannot be stored as Q8_0, in blocks of 32"),
        ((tensor("w", (32,), 20),), UnsupportedModel, "'w' is stored as IQ4_NL"),
        ((tensor("w", (32,), 4),), UnsupportedModel, "type number 4"),
        ((tensor("w", (32,), 1 << 31),), UnsupportedModel, "type number 2147483648"),
        ((tensor("w", (4,), offset=8),), CorruptFile, "multiple of 32"),
        ((tensor("a", (16,)), tensor("b", (4,), offset=32)), CorruptFile, "'a' and 'b' overlap"),
        ((tensor("w", (1 << 62, 1 << 62)),), CorruptFile, "its tensors need"),
        ((tensor("w", (4,), offset=(1 << 64) - 32),), CorruptFile, "its tensors need"),
    ],
)
def test_an_invalid_tensor_is_named(
    entries: tuple[bytes, ...], error: type[LitGPTError], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        read_header(write(tmp_path / "m", header(tensors=entries), weights=128))


@pytest.mark.parametrize("alignment", [0, 4, 33])
def test_an_alignment_that_is_not_a_multiple_of_8_is_damage(alignment: int, tmp_path: Path) -> None:
    keys = (key("general.alignment", U32, struct.pack("<I", alignment)),)
    with pytest.raises(CorruptFile, match="multiple of 8"):
        read_header(write(tmp_path / "m", header(keys=keys)))


def test_a_truncated_file_is_detected_with_both_lengths_in_the_error(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf")
    end = max(tensor.stop for tensor in read_header(path).tensors)
    with path.open("r+b") as file:
        file.truncate(end)
    read_header(path)
    with path.open("r+b") as file:
        file.truncate(end - 1)
    with pytest.raises(
        CorruptFile, match=f"ends after {end - 1} bytes, but its tensors need {end}"
    ) as caught:
        read_header(path)
    assert "Download or copy it again" in str(caught.value)


def test_a_file_truncated_anywhere_is_damaged(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", tensors={"token_embd.weight": np.ones((2, 4), np.float32)})
    read_header(path)
    for length in range(path.stat().st_size - 1, 0, -7):
        os.truncate(path, length)
        with pytest.raises(CorruptFile):
            read_header(path)


def test_a_file_that_is_not_there_or_is_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"none\.gguf"):
        read_header(tmp_path / "none.gguf")
    with pytest.raises(CorruptFile, match="cannot be read"):
        read_header(tmp_path)


def test_a_header_is_read_without_torch_and_numpy_and_without_its_vocabulary(smollm2_gguf: Path) -> None:
    code = (
        "import sys; from pathlib import Path;"
        "from litgpt.adapters.checkpoints.gguf import checkpoint as module;"
        "reads = []; module.read_vocabulary = reads.append;"
        "checkpoint = module.open_gguf(Path(sys.argv[1]), 'smollm2'); checkpoint.tensors;"
        "assert not reads;"
        "assert not {'torch', 'numpy'} & set(sys.modules);"
        "checkpoint.read_tokenizer(); assert reads"
    )
    subprocess.run([sys.executable, "-c", code, str(smollm2_gguf)], check=True)
