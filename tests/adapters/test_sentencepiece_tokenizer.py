"""Tests of `tokenizer.model`, with the library sentencepiece."""

from pathlib import Path

import pytest
from sentencepiece import SentencePieceProcessor

from litgpt.adapters.tokenization.checkpoint_tokenizer import CheckpointTokenizer
from litgpt.adapters.tokenization.factory import open_tokenizer
from litgpt.domain.errors import CorruptFile
from tests.adapters import tiny_tokenizers as tiny
from tests.contracts.tokenizer import TEXTS, TokenizerContract, stream

ADDED = {"<|im_start|>": 340, "<|im_end|>": 341}
DECODER = {
    "341": {"content": "<|im_end|>", "special": True},
    "342": {"content": "<think>", "special": False},
}  # not the next free ids, which they get


@pytest.fixture(scope="module")
def model() -> bytes:
    return tiny.sentencepiece_bytes()


def open_model(folder: Path, model: bytes, **config: object) -> CheckpointTokenizer:
    files = {"tokenizer.model": model, "tokenizer_config.json": config}
    return open_tokenizer(tiny.write(folder, files), name="tiny", vocab_size=400)


class TestSentencePiece(TokenizerContract):
    special = "</s>"

    @pytest.fixture
    def tokenizer(self, model: bytes, tmp_path: Path) -> CheckpointTokenizer:
        return open_model(tmp_path, model)


class TestWithAddedTokens(TokenizerContract):
    special = "<|im_end|>"

    @pytest.fixture
    def tokenizer(self, model: bytes, tmp_path: Path) -> CheckpointTokenizer:
        return open_model(
            tmp_path, model, added_tokens_decoder=DECODER, chat_template=tiny.CHATML, legacy=False
        )


class TestWithoutSpaceBefore(TokenizerContract):
    special = "</s>"

    @pytest.fixture
    def tokenizer(self, tmp_path: Path) -> CheckpointTokenizer:
        return open_model(tmp_path, tiny.sentencepiece_bytes(add_dummy_prefix=False), add_bos_token=False)


@pytest.mark.parametrize("space_before", [True, False])
def test_ids_and_text_are_those_of_the_library(space_before: bool, tmp_path: Path) -> None:  # noqa: FBT001
    model = tiny.sentencepiece_bytes(add_dummy_prefix=space_before)
    library, tokenizer = SentencePieceProcessor(model_proto=model), open_model(tmp_path, model)
    for text in TEXTS:
        ids = library.encode(text)
        assert tokenizer.encode(text, bos=False) == ids
        assert tokenizer.decode(ids) == "".join(stream(tokenizer, ids)) == library.decode(ids)


def test_bos_and_eos_default_to_the_models_own(model: bytes, tmp_path: Path) -> None:
    tokenizer = open_model(tmp_path, model)
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.adds_bos) == (1, 2, True)
    assert not open_model(tmp_path, model, add_bos_token=False).adds_bos
    without = open_model(tmp_path, tiny.sentencepiece_bytes(bos_id=-1, eos_id=-1))
    assert (without.bos_id, without.eos_id, without.adds_bos) == (None, None, False)


def test_the_prefix_space_also_follows_special_tokens_by_default(model: bytes, tmp_path: Path) -> None:
    hello = SentencePieceProcessor(model_proto=model).encode("The")
    legacy = open_model(tmp_path, model)
    assert legacy.encode("The</s>The", bos=False) == [*hello, 2, *hello]
    modern = open_model(tmp_path, model, legacy=False)
    ids = modern.encode("The</s>The", bos=False)
    assert ids[: len(hello) + 1] == [*hello, 2]
    assert ids != [*hello, 2, *hello]
    assert modern.decode(ids) == "TheThe"


def test_added_tokens_come_from_either_file(model: bytes, tmp_path: Path) -> None:
    files = {"tokenizer.model": model, "added_tokens.json": ADDED}
    older = open_tokenizer(tiny.write(tmp_path, files), name="tiny")
    assert older.encode("<|im_start|>", bos=False) == [340]
    assert older.decode([340, *older.encode("The", bos=False)]) == "<|im_start|> The"
    newer = open_model(tmp_path, model, added_tokens_decoder=DECODER)
    assert newer.decode([340, 341]) == "<think>"
    assert (older.vocab_size, newer.vocab_size) == (342, 342)


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x0a\xff"])
def test_a_file_that_the_library_cannot_read_is_damaged(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(CorruptFile, match=r"tokenizer\.model is damaged"):
        open_model(tmp_path, content)


def test_tokenizer_json_comes_first(model: bytes, tmp_path: Path) -> None:
    library = tiny.byte_level()
    files = {"tokenizer.model": model, "tokenizer.json": library}
    tokenizer = open_tokenizer(tiny.write(tmp_path, files), name="tiny")
    assert tokenizer.vocab_size == library.get_vocab_size()
