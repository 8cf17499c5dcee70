"""Codec of the library `tokenizers`, for `tokenizer.json` or a vocabulary built in memory."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import attrs
import tokenizers
from tokenizers import Tokenizer

from litgpt.adapters.text.added_tokens import AddedToken, AddedTokens
from litgpt.adapters.text.escaped_encoding import EscapedEncoding
from litgpt.adapters.text.spelling import Spelling, spelling_of
from litgpt.domain.errors import DamagedFile
from litgpt.domain.reading import reading
from litgpt.domain.special_tokens import ESCAPE

_LARGEST_ID = 2_000_000
"""Published vocabularies have up to 262,144 tokens."""


@attrs.define(kw_only=True)
class TokenizersCodec:
    """A vocabulary of the library `tokenizers`; it implements Codec.

    Attributes:
        library: The library's tokenizer.
        spelling: Decoding of its tokens.
        size: Largest id, plus 1.
        learnt: Largest id without added tokens, plus 1.
        marked: Ids of the tokens that are matched anywhere in a text.
        hidden: Ids that decoding skips.

    """

    library: Tokenizer = attrs.field(repr=False)
    spelling: Spelling
    size: int
    learnt: int
    marked: Mapping[str, int] = attrs.field(repr=False)
    hidden: frozenset[int] = attrs.field(repr=False)
    _spelt: dict[int, bytes] = attrs.field(factory=dict, init=False, repr=False)
    _escaped: EscapedEncoding = attrs.field(init=False, repr=False)

    @_escaped.default
    def _escaped_default(self) -> EscapedEncoding:
        return EscapedEncoding(self.library, self.hidden)

    @property
    def leading_spaces(self) -> int:
        return self.spelling.leading_spaces

    def encode(self, text: str) -> list[int]:
        if ESCAPE in text:
            return self._escaped.encode(text)
        ids: list[int] = self.library.encode(text, add_special_tokens=False).ids
        return ids

    def spell(self, token: int) -> bytes:
        if token not in self._spelt:
            written = self.library.id_to_token(token) or ""
            spell = self.spelling.spell_added if written in self.marked else self.spelling.spell
            self._spelt[token] = spell(written)
        return self._spelt[token]

    def id_of(self, token: str) -> int | None:
        token_id: int | None = self.library.token_to_id(token)
        return token_id


def codec_of(library: Tokenizer, spelling: Spelling, ids: Iterable[int]) -> TokenizersCodec:
    """Return the codec for a vocabulary of the library.

    Args:
        library: The library's tokenizer.
        spelling: Decoding of its tokens.
        ids: Ids of its vocabulary.

    """
    library.no_padding()
    library.no_truncation()  # some files truncate texts to the length used in training
    added = library.get_added_tokens_decoder()
    learnt = max((token for token in ids if token not in added), default=-1) + 1
    return TokenizersCodec(
        library=library,
        spelling=spelling,
        size=max((*added, learnt - 1)) + 1,
        learnt=learnt,
        marked={token.content: place for place, token in added.items()},
        hidden=frozenset(place for place, token in added.items() if token.special),
    )


def open_tokenizer_json(name: str, path: Path, added: AddedTokens) -> TokenizersCodec:
    """Open a `tokenizer.json`.

    Args:
        name: Name of the model in error messages.
        path: The file.
        added: Tokens that the files next to it add.

    Raises:
        DamagedFile: The library cannot read the file.
        UnsupportedModel: The decoder is not supported.

    """
    with reading(path):
        return open_library(name, Tokenizer.from_buffer(path.read_bytes()), added)


def open_library(name: str, library: Tokenizer, added: AddedTokens) -> TokenizersCodec:
    """Return the codec for the library's tokenizer after adding tokens to it.

    Raises:
        DamagedFile: The vocabulary lacks the unknown token, or has an id that is too large.
        UnsupportedModel: The decoder is not supported.

    """
    unknown = getattr(library.model, "unk_token", None)
    if unknown is not None and library.token_to_id(unknown) is None:
        raise DamagedFile(f"the tokenizer of {name}", f"its vocabulary lacks its unknown token {unknown!r}.")
    last = max((*library.get_vocab(with_added_tokens=True).values(), *added.by_id), default=0)
    if last > _LARGEST_ID:  # the library iterates up to it when it writes the vocabulary
        raise DamagedFile(f"the tokenizer of {name}", f"it has a token with the id {last}.")
    add_tokens(library, added)
    decoder = json.loads(library.decoder.__getstate__()) if library.decoder is not None else None
    vocabulary: dict[str, int] = library.get_vocab(with_added_tokens=False)
    return codec_of(library, spelling_of(name, decoder), vocabulary.values())


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


def first_token(codec: TokenizersCodec) -> int | None:
    """Return the special token that the library's post-processor adds before a text, if any."""
    ids: list[int] = codec.library.encode("a").ids
    begins = len(ids) > len(codec.encode("a")) and ids[0] in codec.hidden
    return ids[0] if begins else None
