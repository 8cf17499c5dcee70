"""The library `sentencepiece`, behind our Codec: `tokenizer.model`, or a vocabulary built in memory."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import attrs
from sentencepiece import SentencePieceProcessor

from litgpt.adapters.text.facts import AddedToken, Facts
from litgpt.adapters.text.marks import Marks
from litgpt.adapters.text.spelling import META_SPACE
from litgpt.domain.errors import DamagedFile

_GUARD = "\U0010fffd"  # no vocabulary has it, so it joins with nothing


@attrs.define(kw_only=True)
class SentencePieceCodec:
    """A vocabulary of the library `sentencepiece`. It implements Codec.

    The library takes `</s>` in a text for four characters. Here control tokens, and those that were added to
    the vocabulary, are recognised, as chat templates need it.

    Attributes:
        library: The library's own object.
        added: Tokens that were added to the vocabulary, by id.
        legacy: Whether the space that the library puts before a text also comes after each special token.
        size: One more than the largest id.
        learnt: One more than the largest id that was not added.
        leading_spaces: How many spaces the library puts before a text.
        hidden: The ids that are left out when ids become text.

    """

    library: SentencePieceProcessor = attrs.field(repr=False)
    added: Mapping[int, AddedToken] = attrs.field(repr=False)
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
        """Return the ids of a text, with nothing before and nothing after it."""
        ids: list[int] = []
        for part in self._marks.split(text):
            if isinstance(part, int):
                ids.append(part)
            elif ids and not self.legacy and self.leading_spaces:
                ids.extend(self._without_space(part))
            else:
                ids.extend(self.library.encode(part))
        return ids

    def spell(self, token: int) -> bytes:
        """Return the bytes that a token stands for; none if the vocabulary has no token of this id."""
        if token in self.added:
            return self.added[token].text.encode()
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
        found: int = self.library.piece_to_id(token)  # the unknown token's, if it has no such piece
        return found if self.library.id_to_piece(found) == token else None

    def _without_space(self, text: str) -> list[int]:
        """Encode a text without the space that the library puts before it: put it before something else."""
        guard: list[int] = self.library.encode(_GUARD)
        return list(self.library.encode(_GUARD + text)[len(guard) :])


def codec_of(
    library: SentencePieceProcessor,
    *,
    control: Iterable[int],
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
    added = {place: token for place, token in facts.added.items() if place >= size}
    renamed = {place: token for place, token in facts.added.items() if place < size and token.special}
    found = {library.id_to_piece(place): place for place in control}
    found |= {token.text: place for place, token in (*added.items(), *renamed.items())}
    special = (place for place, token in (*added.items(), *renamed.items()) if token.special)
    return SentencePieceCodec(
        library=library,
        added=added,
        legacy=facts.legacy,
        size=max((*added, size - 1)) + 1,
        learnt=size,
        leading_spaces=int(library.normalize("a").startswith(META_SPACE)),
        hidden=frozenset((*control, *special)),
        marks=Marks(found),
        marked=found | {library.id_to_piece(place): place for place in user_defined},
    )


def open_sentencepiece(path: Path, facts: Facts) -> SentencePieceCodec:
    """Open a `tokenizer.model`.

    Args:
        path: The file.
        facts: What the files beside it say.

    Raises:
        DamagedFile: The library cannot read it.

    """
    try:
        library = load(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DamagedFile(str(path), f"the library sentencepiece cannot read it ({error}).") from error
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
