"""A sentencepiece model, written from its pieces, for the library to load.

The format is protobuf's wire format with the field numbers of sentencepiece_model.proto (Kudo & Richardson
2018, https://github.com/google/sentencepiece). Writing these few fields needs no protobuf library.
"""

from collections.abc import Iterable
from struct import Struct

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
"""The types of a piece; GGUF's `token_type` has the same numbers."""

_FLOAT = Struct("<f").pack
_BPE = 2  # of TrainerSpec.ModelType

# The wire types of protobuf: what follows a field's number.
_VARINT, _BYTES, _FLOAT32 = 0, 2, 5


def sentencepiece_model(
    pieces: Iterable[tuple[str, float, int]], *, byte_fallback: bool, space_before: bool
) -> bytes:
    """Return a serialised model that merges by score and normalises nothing.

    Args:
        pieces: The text, the score and the type of each piece, by id. One of them is of the type UNKNOWN.
        byte_fallback: Whether a character without a piece is written in pieces of the type BYTE.
        space_before: Whether a space is put before every text.

    """
    trainer = _number(3, _BPE) + _number(35, int(byte_fallback))
    normalizer = _number(3, int(space_before)) + _number(4, 0) + _number(5, 1)
    return b"".join((*map(_piece, pieces), _message(2, trainer), _message(3, normalizer)))


def _piece(piece: tuple[str, float, int]) -> bytes:
    text, score, kind = piece
    written = text.encode()
    body = _PIECE_TEXT + _varint(len(written)) + written + _PIECE_SCORE + _FLOAT(score)
    if kind != NORMAL:
        body += _number(3, kind)
    return _PIECE + _varint(len(body)) + body


def _message(field: int, body: bytes) -> bytes:
    return _varint(field << 3 | _BYTES) + _varint(len(body)) + body


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(value)


def _varint(value: int) -> bytes:
    """Write seven bits a byte, the lowest first; the eighth says that more follow."""
    if value < 0x80:
        return _SHORT[value]
    return bytes((value & 0x7F | 0x80,)) + _varint(value >> 7)


_SHORT = tuple(bytes((value,)) for value in range(0x80))
_PIECE = _varint(1 << 3 | _BYTES)
_PIECE_TEXT = _varint(1 << 3 | _BYTES)
_PIECE_SCORE = _varint(2 << 3 | _FLOAT32)
