"""Tests of `tokenizer.json`, with the library tokenizers."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer as Library
from tokenizers import decoders
from tokenizers.models import BPE

from litgpt.adapters.tokenization.added_tokens import AddedTokens
from litgpt.adapters.tokenization.backends.hf_tokenizers import wrap_tokenizer
from litgpt.adapters.tokenization.checkpoint_tokenizer import CheckpointTokenizer
from litgpt.adapters.tokenization.factory import open_tokenizer
from litgpt.domain.errors import CorruptFile, UnsupportedModel
from tests.adapters import tiny_tokenizers as tiny
from tests.contracts.tokenizer import TEXTS, TokenizerContract, stream

BEGIN = {"bos_token": "<s>"}
CONFIG = {"bos_token": "<|begin|>", "eos_token": "<|begin|>", "chat_template": tiny.CHATML}


@pytest.fixture(scope="module")
def byte_level() -> Library:
    return tiny.byte_level()


@pytest.fixture(scope="module")
def pieces() -> Library:
    return tiny.pieces()


@pytest.mark.parametrize("vocabulary", [{}, {"a": 0, "b": 1}, {"a": 2, "b": 0}, {"a": 0, "b": 0, "c": 1}])
def test_the_size_of_a_vocabulary_is_its_last_id_whether_there_are_gaps_or_not(
    vocabulary: dict[str, int],
) -> None:
    library = Library(BPE(vocabulary, []))
    library.decoder = decoders.ByteLevel()
    backend = wrap_tokenizer("tiny", library, AddedTokens())
    assert backend.vocab_size == backend.base_vocab_size == max(vocabulary.values(), default=-1) + 1


class TestByteLevel(TokenizerContract):
    special = "<|im_end|>"

    @pytest.fixture
    def tokenizer(self, byte_level: Library, tmp_path: Path) -> CheckpointTokenizer:
        files = {"tokenizer.json": byte_level, "tokenizer_config.json": CONFIG}
        return open_tokenizer(tiny.write(tmp_path, files), name="tiny", vocab_size=400)


class TestPieces(TokenizerContract):
    special = "</s>"

    @pytest.fixture
    def tokenizer(self, pieces: Library, tmp_path: Path) -> CheckpointTokenizer:
        config = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "add_bos_token": True}
        files = {"tokenizer.json": pieces, "tokenizer_config.json": config}
        return open_tokenizer(tiny.write(tmp_path, files), name="tiny")


@pytest.mark.parametrize("make", ["byte_level", "pieces"])
def test_ids_and_text_are_those_of_the_library(
    make: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    library: Library = request.getfixturevalue(make)
    tokenizer = open_tokenizer(tiny.write(tmp_path, {"tokenizer.json": library}), name="tiny")
    for text in TEXTS:
        ids = library.encode(text, add_special_tokens=False).ids
        assert tokenizer.encode(text, bos=False) == ids
        assert tokenizer.decode(ids) == library.decode(ids)
        assert "".join(stream(tokenizer, ids)) == library.decode(ids)


def open_json(folder: Path, library: Library, **config: object) -> CheckpointTokenizer:
    files = {"tokenizer.json": library, "tokenizer_config.json": config}
    return open_tokenizer(tiny.write(folder, files), name="tiny")


def test_the_post_processor_determines_the_bos_token(
    byte_level: Library, pieces: Library, tmp_path: Path
) -> None:
    tokenizer = open_json(tmp_path, byte_level)
    assert tokenizer.bos_id == byte_level.token_to_id("<|begin|>")
    assert tokenizer.adds_bos
    assert not open_json(tmp_path, pieces, **BEGIN).adds_bos


def test_tokenizer_config_comes_before_the_post_processor(byte_level: Library, tmp_path: Path) -> None:
    assert not open_json(tmp_path, byte_level, add_bos_token=False, **CONFIG).adds_bos


def test_a_missing_bos_token_is_never_added(pieces: Library, tmp_path: Path) -> None:
    tokenizer = open_json(tmp_path, pieces, bos_token=None, add_bos_token=True)
    assert (tokenizer.bos_id, tokenizer.adds_bos) == (None, False)
    assert tokenizer.encode("a", bos=True) == tokenizer.encode("a", bos=False)


def test_the_end_of_turn_is_derived_from_the_chat_template(byte_level: Library, tmp_path: Path) -> None:
    tokenizer = open_json(tmp_path, byte_level, **CONFIG)
    assert tokenizer.eos_id == byte_level.token_to_id("<|begin|>")
    assert tokenizer.stop_token_ids == {tokenizer.eos_id, byte_level.token_to_id("<|im_end|>")}


def test_the_longest_token_after_an_answer_ends_the_turn_spaces_aside(
    byte_level: Library, tmp_path: Path
) -> None:
    library = Library.from_str(byte_level.to_str())
    library.add_special_tokens(["<|im_"])
    template = "{{ messages[-1].content }} \n<|im_end|><|im_start|>"
    assert open_json(tmp_path, library, chat_template=template).stop_token_ids == {
        library.token_to_id("<|im_end|>")
    }


def test_a_template_that_fails_ends_no_turn(byte_level: Library, tmp_path: Path) -> None:
    template = "{{ raise_exception('no') }}"
    assert open_json(tmp_path, byte_level, chat_template=template).stop_token_ids == frozenset()


def test_a_text_is_never_cut_or_padded(pieces: Library, tmp_path: Path) -> None:
    library = Library.from_str(pieces.to_str())
    library.enable_truncation(max_length=3)
    library.enable_padding(length=8)
    assert open_json(tmp_path, library).encode("The quick fox") == open_json(tmp_path, pieces).encode(
        "The quick fox"
    )


def test_an_added_token_that_is_not_special_is_text(byte_level: Library, tmp_path: Path) -> None:
    tokenizer = open_json(tmp_path, byte_level)
    think = tokenizer.token_to_id("<think>")
    ids = tokenizer.encode("a<think>é", bos=False)
    assert think in ids
    assert tokenizer.decode(ids) == "".join(stream(tokenizer, ids)) == "a<think>é"


def test_padding_rows_of_the_embedding_decode_to_nothing(byte_level: Library, tmp_path: Path) -> None:
    source = tiny.write(tmp_path, {"tokenizer.json": byte_level})
    tokenizer = open_tokenizer(source, name="tiny", vocab_size=512)
    assert tokenizer.vocab_size < 512
    assert tokenizer.decode([*tokenizer.encode("a"), 511]) == "a"


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b'{"version": "1.0", "model": 1}'])
def test_a_file_that_the_library_cannot_read_is_damaged(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(CorruptFile, match=r"tokenizer\.json is damaged"):
        open_tokenizer(tiny.write(tmp_path, {"tokenizer.json": content}), name="tiny")


def test_an_unknown_decoder_is_named(pieces: Library, tmp_path: Path) -> None:
    library = Library.from_str(pieces.to_str())
    library.decoder = decoders.CTC()
    with pytest.raises(UnsupportedModel, match="CTC"):
        open_json(tmp_path, library)


def test_a_metaspace_decoder_is_read(pieces: Library, tmp_path: Path) -> None:
    library = Library.from_str(pieces.to_str())
    library.decoder = decoders.Metaspace(prepend_scheme="always")
    text = "the capital  of"
    assert open_json(tmp_path, library).decode(library.encode(text).ids) == text
    library.decoder = decoders.Metaspace(prepend_scheme="never")
    assert open_json(tmp_path, library).decode(library.encode(text).ids) == f" {text}"
