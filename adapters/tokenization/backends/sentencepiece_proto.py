"""Serialize a sentencepiece model from its pieces.

The format is protobuf's wire format with the field numbers of sentencepiece_model.proto (Kudo & Richardson
2018, https://github.com/google/sentencepiece).
"""

from collections.abc import Iterator, Sequence
from struct import pack

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
"""Piece types; GGUF's `token_type` has the same values."""

_BPE = 2  # of TrainerSpec.ModelType
_VARINT, _BYTES, _FLOAT32 = 0, 2, 5  # protobuf wire types


def sentencepiece_model(
    texts: Sequence[str], scores: Sequence[float], types: Sequence[int], *, space_before: bool
) -> bytes:
    """Return a serialized BPE model that does not normalize text, from texts, scores and types by id.

    BYTE pieces enable byte fallback. `space_before` inserts a space before every text.
    """
    trainer = _number(3, _BPE) + _number(35, int(BYTE in types))
    normalizer = _number(3, int(space_before)) + _number(4, 0) + _number(5, 1)
    return b"".join((*_pieces(texts, scores, types), _bytes(2, trainer), _bytes(3, normalizer)))


def _pieces(texts: Sequence[str], scores: Sequence[float], types: Sequence[int]) -> Iterator[bytes]:
    """Yield the message of each piece; constant parts are shared, as there can be hundreds of thousands."""
    packed = pack(f"<{len(scores)}f", *scores)
    score_tag = _tag(2, _FLOAT32)
    tails = {kind: b"" if kind == NORMAL else _number(3, kind) for kind in set(types)}
    heads = {kind: _PieceHeaders(len(score_tag) + 4 + len(tail)) for kind, tail in tails.items()}
    for token_id, (text, kind) in enumerate(zip(texts, types, strict=True)):
        written = text.encode()
        score = packed[4 * token_id : 4 * token_id + 4]
        yield heads[kind][len(written)] + written + score_tag + score + tails[kind]


class _PieceHeaders(dict[int, bytes]):
    """Encoded bytes before a piece's text, by the length of the text."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._after = after

    def __missing__(self, length: int) -> bytes:
        text_head = _tag(1, _BYTES) + _varint(length)
        self[length] = _tag(1, _BYTES) + _varint(len(text_head) + length + self._after) + text_head
        return self[length]


def _bytes(field: int, body: bytes) -> bytes:
    return _tag(field, _BYTES) + _varint(len(body)) + body


def _number(field: int, value: int) -> bytes:
    return _tag(field, _VARINT) + _varint(value)


def _tag(field: int, wire_type: int) -> bytes:
    return _varint(field << 3 | wire_type)


def _varint(value: int) -> bytes:
    """Encode seven bits per byte, lowest first; the eighth bit marks continuation."""
    if value < 0x80:
        return bytes((value,))
    return bytes((value & 0x7F | 0x80,)) + _varint(value >> 7)
