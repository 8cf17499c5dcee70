"""Contract tests of the port Tokenizer, for all adapters and the fake."""

import pickle
from collections.abc import Sequence
from copy import deepcopy

import pytest

from litgpt.domain.chat.messages import Message
from litgpt.domain.errors import InvalidArgument, UnsupportedPrompt, WrongType
from litgpt.domain.ports import Tokenizer

TEXTS = (
    "",
    "a",
    "Hello world",
    " leading",
    "trailing ",
    "two  spaces   and more    ",
    "\n",
    "\n\n\n lines\r\n\ttabs\t",
    "naïve café, Straße, ŁÓDŹ",
    "日本語と한국어 и русский עברית",
    "🦙 👩‍👩‍👧‍👦 \U0001d4b3\U0001d4ce",
    "def f(x):\n    return x['a'] + 12345.678  # it's\n",
    "\x00\x01\x7f",
)

QUESTION = (Message("user", "What is 1+1?"),)


def stream(tokenizer: Tokenizer, ids: Sequence[int]) -> list[str]:
    decoder = tokenizer.decoder()
    return [*(decoder.push(token_id) for token_id in ids), decoder.finish()]


class TokenizerContract:
    """Base class: subclasses provide a tokenizer, and `texts` if it cannot encode all of them."""

    texts: tuple[str, ...] = TEXTS
    special: str
    """The text of a special token of the vocabulary."""

    @pytest.fixture
    def tokenizer(self) -> Tokenizer:
        raise NotImplementedError

    def test_text_comes_back_as_it_was(self, tokenizer: Tokenizer) -> None:
        assert [tokenizer.decode(tokenizer.encode(text)) for text in self.texts] == list(self.texts)

    def test_pieces_join_to_the_text(self, tokenizer: Tokenizer) -> None:
        for text in self.texts:
            assert "".join(stream(tokenizer, tokenizer.encode(text))) == text

    def test_no_piece_has_half_a_character(self, tokenizer: Tokenizer) -> None:
        for text in self.texts:
            assert not any("\ufffd" in piece for piece in stream(tokenizer, tokenizer.encode(text)))

    def test_the_bytes_of_the_tokens_are_the_text(self, tokenizer: Tokenizer) -> None:
        for text in self.texts:
            spelled = b"".join(map(tokenizer.token_bytes, tokenizer.encode(text, bos=False))).decode()
            assert spelled[: tokenizer.leading_spaces].strip() == ""
            assert spelled[tokenizer.leading_spaces :] == text

    def test_two_decoders_share_nothing(self, tokenizer: Tokenizer) -> None:
        ids = tokenizer.encode(self.texts[-2])
        first, other = tokenizer.decoder(), tokenizer.decoder()
        apart = "".join(stream(tokenizer, ids))
        pairs = [(first.push(token), other.push(token)) for token in ids]
        assert "".join(a for a, _ in pairs) + first.finish() == apart
        assert "".join(b for _, b in pairs) + other.finish() == apart

    def test_an_empty_text_is_only_the_bos_token(self, tokenizer: Tokenizer) -> None:
        assert tokenizer.encode("", bos=False) == []
        assert tokenizer.decode([]) == ""
        expected = [tokenizer.bos_id] if tokenizer.adds_bos else []
        assert tokenizer.encode("") == expected

    def test_ids_are_within_the_vocabulary(self, tokenizer: Tokenizer) -> None:
        ids = [token_id for text in self.texts for token_id in tokenizer.encode(text)]
        assert min(ids) >= 0
        assert max(ids) < tokenizer.vocab_size

    def test_bos_is_added_once_on_request(self, tokenizer: Tokenizer) -> None:
        bos = tokenizer.bos_id
        if bos is None:
            assert tokenizer.encode("a", bos=True) == tokenizer.encode("a", bos=False)
            return
        plain, started = tokenizer.encode("a", bos=False), tokenizer.encode("a", bos=True)
        assert bos not in plain
        assert started == [bos, *plain]
        assert tokenizer.encode("a") == (started if tokenizer.adds_bos else plain)
        written = tokenizer.decode([bos], include_special_tokens=True)
        assert tokenizer.encode(f"{written}a", bos=True).count(bos) == 1
        assert tokenizer.encode(written, bos=True) == [bos]

    def test_a_special_token_is_one_id_wherever_a_text_has_it(self, tokenizer: Tokenizer) -> None:
        token = tokenizer.token_to_id(self.special)
        assert token is not None
        ids = tokenizer.encode(f"a{self.special}a{self.special}{self.special}", bos=False)
        assert ids.count(token) == 3
        assert ids[-2:] == [token, token]

    def test_an_escaped_special_token_is_encoded_as_text(self, tokenizer: Tokenizer) -> None:
        token = tokenizer.token_to_id(self.special)
        assert token is not None
        for typed in (
            self.special,
            f"a{self.special}b",
            f"{self.special}{self.special} a",
            f"a {self.special}",
        ):
            ids = tokenizer.encode(tokenizer.escape(typed), bos=False, escaped=True)
            assert token not in ids
            assert tokenizer.decode(ids) == typed
            framed = f"{self.special}{tokenizer.escape(typed)}{self.special}"
            between = tokenizer.encode(framed, bos=False, escaped=True)
            assert between.count(token) == 2
            assert between[0] == between[-1] == token
            assert tokenizer.decode(between).strip() == typed.strip()

    def test_text_without_special_tokens_is_escaped_as_it_is(self, tokenizer: Tokenizer) -> None:
        for text in self.texts:
            assert tokenizer.escape(text) == text
            assert tokenizer.encode(text, escaped=True) == tokenizer.encode(text)

    def test_text_that_cannot_be_encoded_cannot_be_escaped(self, tokenizer: Tokenizer) -> None:
        with pytest.raises(InvalidArgument, match="surrogates"):
            tokenizer.escape("a\udfff")
        with pytest.raises(InvalidArgument, match="surrogates"):
            tokenizer.encode("a\udc80", escaped=True)
        with pytest.raises(InvalidArgument, match="surrogates"):
            tokenizer.encode("a\udfff")
        with pytest.raises(WrongType, match="text must be a string"):
            tokenizer.escape(b"bytes")  # type: ignore[arg-type]

    def test_a_decoder_shows_the_special_tokens_that_it_is_asked_for(self, tokenizer: Tokenizer) -> None:
        ids = tokenizer.encode(f"a{self.special}b", bos=False)
        for visible in ((self.special, "<not a token>"), ("<not a token>",)):
            decoder = tokenizer.decoder(visible=visible)
            text = "".join([*map(decoder.push, ids), decoder.finish()])
            assert text.replace(" ", "") == (f"a{self.special}b" if self.special in visible else "ab")

    def test_special_tokens_are_hidden_by_default(self, tokenizer: Tokenizer) -> None:
        ids = tokenizer.encode(f"a{self.special}b", bos=False)
        assert tokenizer.decode(ids).replace(" ", "") == "ab"
        assert self.special in tokenizer.decode(ids, include_special_tokens=True)
        assert "".join(stream(tokenizer, ids)) == tokenizer.decode(ids)

    def test_a_token_that_is_not_there_has_no_id(self, tokenizer: Tokenizer) -> None:
        assert tokenizer.token_to_id("<|no such token|>") is None

    @pytest.mark.parametrize("token", [-1, 10**9, 2**70])
    def test_an_id_outside_the_vocabulary_is_named(self, tokenizer: Tokenizer, token: int) -> None:
        with pytest.raises(InvalidArgument, match=str(token)):
            tokenizer.decode([token])
        with pytest.raises(InvalidArgument, match=str(token)):
            tokenizer.decode([token], include_special_tokens=True)
        with pytest.raises(InvalidArgument, match=str(token)):
            tokenizer.decoder().push(token)

    def test_only_valid_unicode_text_is_encoded(self, tokenizer: Tokenizer) -> None:
        with pytest.raises(WrongType, match="text must be a string"):
            tokenizer.encode(b"bytes")  # type: ignore[arg-type]
        with pytest.raises(InvalidArgument, match="surrogates"):
            tokenizer.encode("a\ud800")

    def test_copies_and_pickles_behave_the_same(self, tokenizer: Tokenizer) -> None:
        text = f"a {self.special} {self.texts[-1]}"
        for other in (deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):  # noqa: S301 - our own
            assert other.encode(text) == tokenizer.encode(text)
            assert other.decode(tokenizer.encode(text)) == tokenizer.decode(tokenizer.encode(text))

    def test_the_end_of_a_text_is_among_the_ends(self, tokenizer: Tokenizer) -> None:
        assert tokenizer.eos_id is None or tokenizer.eos_id in tokenizer.stop_token_ids
        assert all(0 <= token_id < tokenizer.vocab_size for token_id in tokenizer.stop_token_ids)

    def test_messages_require_a_chat_template(self, tokenizer: Tokenizer) -> None:
        if not tokenizer.has_chat_template:
            with pytest.raises(UnsupportedPrompt, match="chat template"):
                tokenizer.render(QUESTION)
            return
        rendered = tokenizer.render(QUESTION)
        reported = tokenizer.render(QUESTION, add_generation_prompt=False)
        assert QUESTION[0].text in reported
        assert rendered.startswith(reported)
        assert len(rendered) > len(reported)
