"""Property tests of damaged GGUF headers: a LitGPTError or a readable checkpoint."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from litgpt.adapters.checkpoints.gguf.checkpoint import open_gguf
from litgpt.adapters.checkpoints.gguf.reader.header import read_header
from litgpt.domain.errors import LitGPTError
from litgpt.domain.families import parse_config
from tests.adapters.gguf_files import llama_tensors, write_gguf
from tests.adapters.test_gguf_config import llama3_factors

WHERE = TemporaryDirectory(prefix="damaged-gguf-", ignore_cleanup_errors=True)


@cache
def sound() -> tuple[bytes, int]:
    """Return a valid file with many features, and the offset of the end of its header."""
    path = Path(WHERE.name) / "sound.gguf"
    tensors = llama_tensors(size=32, layers=1) | {"rope_freqs.weight": llama3_factors(8.0, size=32)}
    settings = {"rope.freq_base": 500_000.0, "attention.head_count": [4, 4], "block_count": 1}
    write_gguf(path, tensors=tensors, stored_as="Q8_0", settings=settings)
    return path.read_bytes(), min(tensor.start for tensor in read_header(path).tensors)


def use(raw: bytes) -> bool:
    """Read all parts of a file. Return whether it was read rather than refused with a LitGPTError."""
    path = Path(WHERE.name) / "damaged.gguf"
    path.write_bytes(raw)
    try:
        checkpoint = open_gguf(path, "damaged")
        parse_config("damaged", checkpoint.config)
        assert checkpoint.generation_config is not None
        checkpoint.read_tokenizer()
        for name, tensor in checkpoint.tensors.items():
            assert checkpoint.read(name, "bfloat16").shape == tensor.shape
    except LitGPTError as error:
        return not str(error)
    return True


def test_the_file_that_is_damaged_below_was_sound() -> None:
    assert use(sound()[0])


@settings(max_examples=150)
@given(st.data())
def test_a_header_with_any_bytes_changed_is_read_or_refused(data: st.DataObject) -> None:
    raw, end = sound()
    damaged = bytearray(raw)
    places = st.integers(4, end - 1)
    for place, byte in data.draw(
        st.dictionaries(places, st.integers(0, 255), min_size=1, max_size=3)
    ).items():
        damaged[place] = byte
    use(bytes(damaged))


@settings(max_examples=60)
@given(st.data())
def test_a_number_in_a_header_that_becomes_any_other_is_read_or_refused(data: st.DataObject) -> None:
    raw, end = sound()
    size = data.draw(st.sampled_from([4, 8]))
    place = data.draw(st.integers(4, end - size))
    number = data.draw(st.one_of(st.integers(0, 2 ** (8 * size) - 1), st.integers(0, 300)))
    use(raw[:place] + number.to_bytes(size, "little") + raw[place + size :])


@settings(max_examples=60)
@given(st.data())
def test_a_file_cut_anywhere_is_refused(data: st.DataObject) -> None:
    raw, _ = sound()
    last = max(tensor.stop for tensor in read_header(Path(WHERE.name) / "sound.gguf").tensors)
    assert not use(raw[: data.draw(st.integers(0, last - 1))])


@settings(max_examples=40)
@given(st.binary(max_size=200))
def test_bytes_behind_the_magic_are_refused(raw: bytes) -> None:
    assert not use(b"GGUF\3\0\0\0" + raw)
