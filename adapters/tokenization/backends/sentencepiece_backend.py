"""Backend of the library `sentencepiece`, for `tokenizer.model` or a vocabulary built in memory."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

import attrs
from sentencepiece import SentencePieceProcessor

from litgpt.adapters.tokenization.added_tokens import AddedToken
from litgpt.adapters.tokenization.special_tokens import SpecialTokenSplitter
from litgpt.adapters.tokenization.token_bytes import METASPACE
from litgpt.adapters.tokenization.tokenizer_config import TokenizerConfig
from litgpt.domain.chat.special_token_escapes import ESCAPE, unescape
from litgpt.domain.validation.untrusted_files import translate_read_errors

_GUARD = "\U0010fffd"  # not in any vocabulary, so it is never merged


@attrs.define(kw_only=True)
class SentencePieceBackend:
    """A vocabulary of the library `sentencepiece`.

    The library treats `</s>` in a text as four characters. Here, control tokens and added tokens are matched,
    as chat templates require.

    Attributes:
        texts: Added and renamed tokens by id.
        legacy: Whether the leading space of the library is also inserted after each special token.
    """

    library: SentencePieceProcessor = attrs.field(repr=False)
    texts: Mapping[int, str] = attrs.field(repr=False)
    legacy: bool
    vocab_size: int
    base_vocab_size: int
    leading_spaces: int
    skipped_ids: frozenset[int] = attrs.field(repr=False)
    _marks: SpecialTokenSplitter = attrs.field(alias="marks", repr=False)
    _marked: Mapping[str, int] = attrs.field(alias="marked", repr=False)

    @property
    def special_tokens(self) -> Mapping[str, int]:
        return self._marked

    def encode(self, text: str) -> list[int]:
        ids: list[int] = []
        for part in self._marks.split(text):
            if isinstance(part, int):
                ids.append(part)
            elif plain := unescape(part):
                pieces = self._encode_plain(plain, begins=not ids)
                if ESCAPE in part and not self.skipped_ids.isdisjoint(pieces):
                    # The library also produces pieces that are marked special only by the other files.
                    halves = filter(None, part.split(ESCAPE))
                    pieces = [
                        piece
                        for number, half in enumerate(halves)
                        for piece in self._encode_plain(half, begins=not (ids or number), joined=number > 0)
                    ]
                ids.extend(pieces)
        return ids

    def to_bytes(self, token: int) -> bytes:
        if token in self.texts:
            return self.texts[token].encode()
        if token >= self.library.get_piece_size():
            return b""
        piece: str = self.library.id_to_piece(token)
        if self.library.is_byte(token):
            return bytes.fromhex(piece[3:5])
        return piece.replace(METASPACE, " ").encode()

    def token_to_id(self, token: str) -> int | None:
        if token in self._marked:
            return self._marked[token]
        return _piece_id(self.library, token)

    def _encode_plain(self, text: str, *, begins: bool, joined: bool = False) -> list[int]:
        if self.leading_spaces and (joined or not (begins or self.legacy)):
            return self._without_space(text)
        return list(self.library.encode(text))

    def _without_space(self, text: str) -> list[int]:
        """Encode a text without the library's leading space, which goes before a guard character instead."""
        guard: list[int] = self.library.encode(_GUARD)
        return list(self.library.encode(_GUARD + text)[len(guard) :])


def make_backend(
    library: SentencePieceProcessor,
    *,
    control: Collection[int],
    user_defined: Iterable[int] = (),
    config: TokenizerConfig,
) -> SentencePieceBackend:
    """Return the backend of a vocabulary of the library.

    `control` has the ids of control tokens and of the unknown token, `user_defined` those that the library
    itself matches in a text.
    """
    size: int = library.get_piece_size()
    texts = dict(_renamed(library, config.added_tokens.by_id))
    ids = {text: token_id for token_id, text in texts.items()}
    tokens = config.added_tokens.missing_from({})
    for token in tokens:
        if token.text not in ids:
            known = _piece_id(library, token.text)
            ids[token.text] = size + sum(token_id >= size for token_id in texts) if known is None else known
            if known is None:
                texts[ids[token.text]] = token.text
    hidden = {*control, *(ids[token.text] for token in tokens if token.special)}
    matched = {library.id_to_piece(token_id): token_id for token_id in control if token_id not in texts} | ids
    return SentencePieceBackend(
        library=library,
        texts=texts,
        legacy=config.legacy,
        vocab_size=max((*texts, size - 1)) + 1,
        base_vocab_size=size,
        leading_spaces=int(library.normalize("a").startswith(METASPACE)),
        skipped_ids=frozenset(hidden),
        marks=SpecialTokenSplitter(matched, {token.text: token for token in tokens}),
        marked=matched | {library.id_to_piece(token_id): token_id for token_id in user_defined},
    )


def _renamed(library: SentencePieceProcessor, by_id: Mapping[int, AddedToken]) -> Iterator[tuple[int, str]]:
    """Yield the ids and new names of pieces, such as `<unused7>`, that the other files rename."""
    for token_id, token in by_id.items():
        if token_id < library.get_piece_size() and _piece_id(library, token.text) is None:
            yield token_id, token.text


def _piece_id(library: SentencePieceProcessor, text: str) -> int | None:
    piece: int = library.piece_to_id(text)  # the unknown token's id if the piece does not exist
    return piece if library.id_to_piece(piece) == text else None


def open_sentencepiece(path: Path, config: TokenizerConfig) -> SentencePieceBackend:
    """Open a `tokenizer.model` with the settings in the files next to it."""
    with translate_read_errors(path):
        library = load_processor(path.read_bytes())
        ids = range(library.get_piece_size())
        control = [
            token_id for token_id in ids if library.is_control(token_id) or library.is_unknown(token_id)
        ]
        return make_backend(library, control=control, config=config)


def load_processor(model: bytes) -> SentencePieceProcessor:
    """Load a serialized model; raise ValueError if the library cannot read it."""
    if not model:
        raise ValueError("it is empty")  # the library would create an uninitialized processor
    try:
        return SentencePieceProcessor(model_proto=model)
    except (RuntimeError, OSError) as error:
        raise ValueError(str(error)) from error


def bos_and_eos(backend: SentencePieceBackend) -> tuple[int | None, int | None]:
    """Return the model's BOS and EOS ids, if any."""
    bos, eos = backend.library.bos_id(), backend.library.eos_id()
    return (bos if bos >= 0 else None), (eos if eos >= 0 else None)
