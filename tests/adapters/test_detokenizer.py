"""Tests of incremental detokenization."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litgpt.adapters.tokenization.detokenizer import IncrementalDetokenizer, decode
from litgpt.adapters.tokenization.token_bytes import BYTE_LEVEL_DECODER, parse_decoder
from litgpt.domain.errors import UnsupportedModel

TOKENS = (
    [bytes((byte,)) for byte in range(256)]
    + [part.encode() for part in ("the", " ", "  ", "é", "日", "🦙")]
    + ["🦙".encode()[:2], "🦙".encode()[2:], "日🦙".encode()[:-1], b""]
)
IDS = st.lists(st.integers(0, len(TOKENS) - 1) | st.integers(256, len(TOKENS) - 1), max_size=30)


def pieces(ids: Sequence[int], leading_spaces: int = 0) -> list[str]:
    decoder = IncrementalDetokenizer(TOKENS.__getitem__, leading_spaces)
    return [*map(decoder.push, ids), decoder.finish()]


@given(ids=IDS, leading_spaces=st.integers(0, 2))
def test_pieces_of_anything_join_to_the_whole(ids: list[int], leading_spaces: int) -> None:
    whole = decode(TOKENS.__getitem__, ids, leading_spaces=leading_spaces)
    assert "".join(pieces(ids, leading_spaces)) == whole


@given(text=st.text())
def test_valid_utf8_is_decoded_and_no_piece_is_broken(text: str) -> None:
    output = pieces(list(text.encode()))
    assert "".join(output) == text
    assert [piece for piece in output if piece] == list(text)


def test_each_token_is_read_once_however_long_the_text() -> None:
    read: list[int] = []

    def spell(token: int) -> bytes:
        read.append(token)
        return b"\xf0"

    decoder = IncrementalDetokenizer(spell, 0)
    for token in range(1000):
        decoder.push(token)
    assert read == list(range(1000))


def test_only_the_spaces_before_the_text_are_taken_away() -> None:
    a, space, two = TOKENS.index(b"a"), TOKENS.index(b" ", 256), TOKENS.index(b"  ")
    assert pieces([space, a, space, a], 1) == ["", "a", " ", "a", ""]
    assert pieces([two, a], 1) == [" ", "a", ""]
    assert pieces([a, space], 1) == ["a", " ", ""]
    assert pieces([space, space, a], 2) == ["", "", "a", ""]


def test_a_byte_level_token_is_decoded_with_gpt2_byte_letters() -> None:
    assert BYTE_LEVEL_DECODER.to_bytes("Ġthe") == b" the"
    assert BYTE_LEVEL_DECODER.to_bytes("ĊĠ") == b"\n "
    assert BYTE_LEVEL_DECODER.to_bytes("Ã©") == "é".encode()
    assert BYTE_LEVEL_DECODER.to_bytes("日") == "日".encode()
    assert BYTE_LEVEL_DECODER.added_to_bytes("Ġ") == "Ġ".encode()


@pytest.mark.parametrize(
    "decoder", [None, {"type": "Fuse"}, {"type": "CTC"}, {"type": "Sequence", "decoders": 1}]
)
def test_a_decoder_that_is_not_known_is_refused(decoder: dict[str, object] | None) -> None:
    with pytest.raises(UnsupportedModel, match=r"tokenizer\.json"):
        parse_decoder("m", decoder)
