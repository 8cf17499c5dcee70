"""The library `sentencepiece`, behind our Codec: `tokenizer.model`, or a vocabulary built in memory."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

import attrs
from sentencepiece import SentencePieceProcessor

from litgpt.adapters.text.added_tokens import AddedToken
from litgpt.adapters.text.facts import Facts
from litgpt.adapters.text.marks import Marks
from litgpt.adapters.text.spelling import META_SPACE
from litgpt.domain.reading import reading
from litgpt.domain.special_tokens import ESCAPE, unescape

_GUARD = "\U0010fffd"  # no vocabulary has it, so it joins with nothing


@attrs.define(kw_only=True)
class SentencePieceCodec:
    """A vocabulary of the library `sentencepiece`. It implements Codec.

    The library takes `</s>` in a text for four characters. Here control tokens, and those that were added to
    the vocabulary, are recognised, as chat templates need it.

    Attributes:
        library: The library's own object.
        texts: The tokens that were added to the vocabulary or renamed, by id.
        legacy: Whether the space that the library puts before a text also comes after each special token.
        size: One more than the largest id.
        learnt: One more than the largest id that was not added.
        leading_spaces: How many spaces the library puts before a text.
        hidden: The ids that are left out when ids become text.

    """

    library: SentencePieceProcessor = attrs.field(repr=False)
    texts: Mapping[int, str] = attrs.field(repr=False)
    legacy: bool
    size: int
    learnt: int
    leading_spaces: int
    hidden: frozenset[int] = attrs.field(repr=False)
    _marks: Marks = attrs.field(alias="marks", repr=False)
    _marked: Mapping[str, int] = attrs.field(alias="marked", repr=False)

    @property
    def marked(self) -> Mapping[str, int]:
        """The tokens that are recognised wherever a text has them."""
        return self._marked

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, with nothing before and nothing after it; escaped tokens are text."""
        ids: list[int] = []
        for part in self._marks.split(text):
            if isinstance(part, int):
                ids.append(part)
            elif plain := unescape(part):
                found = self._encode_plain(plain, begins=not ids)
                if ESCAPE in part and not self.hidden.isdisjoint(found):
                    # The library itself finds a piece that only the files beside it call special.
                    halves = filter(None, part.split(ESCAPE))
                    found = [
                        one
                        for number, half in enumerate(halves)
                        for one in self._encode_plain(half, begins=not (ids or number), joined=number > 0)
                    ]
                ids.extend(found)
        return ids

    def spell(self, token: int) -> bytes:
        """Return the bytes that a token stands for; none if the vocabulary has no token of this id."""
        if token in self.texts:
            return self.texts[token].encode()
        if token >= self.library.get_piece_size():
            return b""
        piece: str = self.library.id_to_piece(token)
        if self.library.is_byte(token):
            return bytes.fromhex(piece[3:5])
        return piece.replace(META_SPACE, " ").encode()

    def id_of(self, token: str) -> int | None:
        """Return the id of a token as its vocabulary writes it."""
        if token in self._marked:
            return self._marked[token]
        return _piece_id(self.library, token)

    def _encode_plain(self, text: str, *, begins: bool, joined: bool = False) -> list[int]:
        if self.leading_spaces and (joined or not (begins or self.legacy)):
            return self._without_space(text)
        return list(self.library.encode(text))

    def _without_space(self, text: str) -> list[int]:
        """Encode a text without the space that the library puts before it: put it before something else."""
        guard: list[int] = self.library.encode(_GUARD)
        return list(self.library.encode(_GUARD + text)[len(guard) :])


def codec_of(
    library: SentencePieceProcessor,
    *,
    control: Collection[int],
    user_defined: Iterable[int] = (),
    facts: Facts,
) -> SentencePieceCodec:
    """Return the codec for a vocabulary of the library.

    Args:
        library: The library's own object.
        control: The ids of control tokens, and of the unknown token.
        user_defined: The ids of tokens that the library recognises in a text by itself.
        facts: What the files beside it say.

    """
    size: int = library.get_piece_size()
    texts = dict(_renamed(library, facts.added.by_id))
    ids = {text: token_id for token_id, text in texts.items()}
    tokens = facts.added.missing_from({})
    for token in tokens:
        if token.text not in ids:
            known = _piece_id(library, token.text)
            ids[token.text] = size + sum(one >= size for one in texts) if known is None else known
            if known is None:
                texts[ids[token.text]] = token.text
    hidden = {*control, *(ids[token.text] for token in tokens if token.special)}
    found = {library.id_to_piece(one): one for one in control if one not in texts} | ids
    return SentencePieceCodec(
        library=library,
        texts=texts,
        legacy=facts.legacy,
        size=max((*texts, size - 1)) + 1,
        learnt=size,
        leading_spaces=int(library.normalize("a").startswith(META_SPACE)),
        hidden=frozenset(hidden),
        marks=Marks(found, {token.text: token for token in tokens}),
        marked=found | {library.id_to_piece(one): one for one in user_defined},
    )


def _renamed(library: SentencePieceProcessor, by_id: Mapping[int, AddedToken]) -> Iterator[tuple[int, str]]:
    """Yield the pieces that the files beside the model rename, such as `<unused7>`, with the new name."""
    for token_id, token in by_id.items():
        if token_id < library.get_piece_size() and _piece_id(library, token.text) is None:
            yield token_id, token.text


def _piece_id(library: SentencePieceProcessor, text: str) -> int | None:
    found: int = library.piece_to_id(text)  # the unknown token's, if there is no such piece
    return found if library.id_to_piece(found) == text else None


def open_sentencepiece(path: Path, facts: Facts) -> SentencePieceCodec:
    """Open a `tokenizer.model`.

    Args:
        path: The file.
        facts: What the files beside it say.

    Raises:
        DamagedFile: The library cannot read it.

    """
    with reading(path):
        library = load(path.read_bytes())
        ids = range(library.get_piece_size())
        control = [one for one in ids if library.is_control(one) or library.is_unknown(one)]
        return codec_of(library, control=control, facts=facts)


def load(model: bytes) -> SentencePieceProcessor:
    """Return the library's object for a serialised model.

    Raises:
        ValueError: The library cannot read it.

    """
    if not model:
        raise ValueError("it is empty")  # which the library takes for a wish to be filled later
    try:
        return SentencePieceProcessor(model_proto=model)
    except (RuntimeError, OSError) as error:
        raise ValueError(str(error)) from error


def first_and_last(codec: SentencePieceCodec) -> tuple[int | None, int | None]:
    """Return the tokens that the model itself calls the beginning and the end of a text, if it has them."""
    bos, eos = codec.library.bos_id(), codec.library.eos_id()
    return (bos if bos >= 0 else None), (eos if eos >= 0 else None)
