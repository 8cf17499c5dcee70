import pytest

from litgpt.domain.chat.messages import Message
from litgpt.domain.errors import UnsupportedPrompt
from litgpt.domain.tokenizer_source import TokenizerFiles
from litgpt.testing import ByteTokenizer, open_byte_tokenizer
from tests.contracts.tokenizer import TokenizerContract


class TestByteTokenizer(TokenizerContract):
    special = "<|end|>"

    @pytest.fixture(params=[False, True])
    def tokenizer(self, request: pytest.FixtureRequest) -> ByteTokenizer:
        return ByteTokenizer(adds_bos=request.param)

    def test_its_ids_are_bytes(self) -> None:
        assert ByteTokenizer().encode("é<|user|>") == [0xC3, 0xA9, 259]


class TestByteTokenizerWithoutTemplate(TestByteTokenizer):
    @pytest.fixture
    def tokenizer(self) -> ByteTokenizer:
        return ByteTokenizer(has_chat_template=False)


def test_it_fills_the_vocabulary_of_any_model() -> None:
    assert open_byte_tokenizer(TokenizerFiles({}), name="m", vocab_size=512).decode([65, 511]) == "A"


def test_an_unknown_role_is_named() -> None:
    with pytest.raises(UnsupportedPrompt, match="'robot'"):
        ByteTokenizer().render([Message("robot", "42")])
