"""Backend of the library `tokenizers`, for `tokenizer.json` or a vocabulary built in memory."""

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import attrs
import tokenizers
from tokenizers import Tokenizer

from litgpt.adapters.tokenization.added_tokens import AddedToken, AddedTokens
from litgpt.adapters.tokenization.backends.escaped_encoding import EscapedEncoding
from litgpt.adapters.tokenization.token_bytes import TokenByteDecoder, parse_decoder
from litgpt.domain.chat.special_token_escapes import ESCAPE
from litgpt.domain.errors import CorruptFile
from litgpt.domain.validation.untrusted_files import translate_read_errors

_MAX_ID = 2_000_000
"""Published vocabularies have up to 262,144 tokens."""


@attrs.define(kw_only=True)
class HFTokenizersBackend:
    """A vocabulary of the library `tokenizers`."""

    library: Tokenizer = attrs.field(repr=False)
    byte_decoder: TokenByteDecoder
    vocab_size: int
    base_vocab_size: int
    special_tokens: Mapping[str, int] = attrs.field(repr=False)
    skipped_ids: frozenset[int] = attrs.field(repr=False)
    _bytes_cache: dict[int, bytes] = attrs.field(factory=dict, init=False, repr=False)
    _escaped: EscapedEncoding = attrs.field(init=False, repr=False)

    @_escaped.default
    def _escaped_default(self) -> EscapedEncoding:
        return EscapedEncoding(self.library, self.skipped_ids)

    @property
    def leading_spaces(self) -> int:
        return self.byte_decoder.leading_spaces

    def encode(self, text: str) -> list[int]:
        if ESCAPE in text:
            return self._escaped.encode(text)
        ids: list[int] = self.library.encode(text, add_special_tokens=False).ids
        return ids

    def to_bytes(self, token: int) -> bytes:
        if token not in self._bytes_cache:
            written = self.library.id_to_token(token) or ""
            spell = (
                self.byte_decoder.added_to_bytes
                if written in self.special_tokens
                else self.byte_decoder.to_bytes
            )
            self._bytes_cache[token] = spell(written)
        return self._bytes_cache[token]

    def token_to_id(self, token: str) -> int | None:
        token_id: int | None = self.library.token_to_id(token)
        return token_id


def make_backend(
    library: Tokenizer, byte_decoder: TokenByteDecoder, ids: Iterable[int]
) -> HFTokenizersBackend:
    """Return the backend of a vocabulary of the library with these ids."""
    library.no_padding()
    library.no_truncation()  # some files truncate texts to the length used in training
    added = library.get_added_tokens_decoder()
    base_vocab_size = max({*ids} - added.keys(), default=-1) + 1
    return HFTokenizersBackend(
        library=library,
        byte_decoder=byte_decoder,
        vocab_size=max((*added, base_vocab_size - 1)) + 1,
        base_vocab_size=base_vocab_size,
        special_tokens={token.content: token_id for token_id, token in added.items()},
        skipped_ids=frozenset(token_id for token_id, token in added.items() if token.special),
    )


def open_tokenizer_json(name: str, path: Path, added: AddedTokens) -> HFTokenizersBackend:
    """Open a `tokenizer.json` with the tokens that the files next to it add."""
    with translate_read_errors(path):
        return wrap_tokenizer(name, Tokenizer.from_buffer(path.read_bytes()), added)


def wrap_tokenizer(name: str, library: Tokenizer, added: AddedTokens) -> HFTokenizersBackend:
    """Return the backend of the library's tokenizer after adding tokens to it."""
    unknown = getattr(library.model, "unk_token", None)
    if unknown is not None and library.token_to_id(unknown) is None:
        raise CorruptFile(f"the tokenizer of {name}", f"its vocabulary lacks its unknown token {unknown!r}.")
    ids = _vocabulary_ids(library)
    last = max((*ids, *library.get_added_tokens_decoder(), *added.by_id), default=0)
    if last > _MAX_ID:  # the library iterates up to it when it writes the vocabulary
        raise CorruptFile(f"the tokenizer of {name}", f"it has a token with the id {last}.")
    add_tokens(library, added)
    decoder = json.loads(library.decoder.__getstate__()) if library.decoder is not None else None
    return make_backend(library, parse_decoder(name, decoder), ids)


def _vocabulary_ids(library: Tokenizer) -> Collection[int]:
    """Return the ids of the vocabulary without added tokens.

    If they have no gaps, looking each up takes half the time of copying the vocabulary.
    """
    count = library.get_vocab_size(with_added_tokens=False)
    if None not in map(library.model.id_to_token, range(count)):
        return range(count)
    vocabulary: dict[str, int] = library.get_vocab(with_added_tokens=False)
    return vocabulary.values()


def add_tokens(library: Tokenizer, added: AddedTokens) -> None:
    """Add tokens to a vocabulary; new ones get the next free ids."""
    present = {
        token_id: AddedToken(
            token.content,
            special=token.special,
            lstrip=token.lstrip,
            rstrip=token.rstrip,
            single_word=token.single_word,
            normalized=token.normalized,
        )
        for token_id, token in library.get_added_tokens_decoder().items()
    }
    library.add_tokens(
        [
            tokenizers.AddedToken(
                token.text,
                special=token.special,
                lstrip=token.lstrip,
                rstrip=token.rstrip,
                single_word=token.single_word,
                normalized=token.normalized,
            )
            for token in added.missing_from(present)
        ]
    )


def added_special_tokens(backend: HFTokenizersBackend) -> tuple[int | None, int | None]:
    """Return the special tokens that the library's post-processor adds before and after a text, if any."""
    ids: list[int] = backend.library.encode("a").ids
    if len(ids) == len(backend.encode("a")):
        return None, None
    first, last = (token if token in backend.skipped_ids else None for token in (ids[0], ids[-1]))
    return first, last
