"""The library `tokenizers`, behind our Codec: `tokenizer.json`, or a vocabulary built in memory."""

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
"""Known vocabularies have up to 262,144 tokens."""


@attrs.define(kw_only=True)
class TokenizersCodec:
    """A vocabulary of the library `tokenizers`. It implements Codec.

    Attributes:
        library: The library's own object.
        spelling: How its tokens are read.
        size: One more than its largest id.
        learnt: One more than its largest id that was not added.
        marked: The tokens that are recognised wherever a text has them.
        hidden: The ids that are left out when ids become text.

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
        """How many spaces it puts before a text, to be taken away again."""
        return self.spelling.leading_spaces

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, with nothing before and nothing after it; escaped tokens are text."""
        if ESCAPE in text:
            return self._escaped.encode(text)
        ids: list[int] = self.library.encode(text, add_special_tokens=False).ids
        return ids

    def spell(self, token: int) -> bytes:
        """Return the bytes that a token stands for; none if the vocabulary has no token of this id."""
        if token not in self._spelt:
            written = self.library.id_to_token(token) or ""
            spell = self.spelling.spell_added if written in self.marked else self.spelling.spell
            self._spelt[token] = spell(written)
        return self._spelt[token]

    def id_of(self, token: str) -> int | None:
        """Return the id of a token as its vocabulary writes it."""
        found: int | None = self.library.token_to_id(token)
        return found


def codec_of(library: Tokenizer, spelling: Spelling, ids: Iterable[int]) -> TokenizersCodec:
    """Return the codec for a vocabulary of the library.

    Args:
        library: The library's own object.
        spelling: How its tokens are read.
        ids: The ids of its vocabulary.

    """
    library.no_padding()
    library.no_truncation()  # some files cut every text at the length that was handy in training
    added = library.get_added_tokens_decoder()
    learnt = max((one for one in ids if one not in added), default=-1) + 1
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
        name: What to call the model in an error.
        path: The file.
        added: The tokens that the files beside it add.

    Raises:
        DamagedFile: The library cannot read it.
        UnsupportedModel: It joins tokens to text in a way that is not implemented.

    """
    with reading(path):
        return open_library(name, Tokenizer.from_buffer(path.read_bytes()), added)


def open_library(name: str, library: Tokenizer, added: AddedTokens) -> TokenizersCodec:
    """Return the codec for the library's own object, with tokens that are to be added to it.

    Raises:
        DamagedFile: Its vocabulary lacks the token for unknown text, or has an id that is far too large.
        UnsupportedModel: It joins tokens to text in a way that is not implemented.

    """
    unknown = getattr(library.model, "unk_token", None)
    if unknown is not None and library.token_to_id(unknown) is None:
        raise DamagedFile(f"the tokenizer of {name}", f"its vocabulary lacks its unknown token {unknown!r}.")
    last = max((*library.get_vocab(with_added_tokens=True).values(), *added.by_id), default=0)
    if last > _LARGEST_ID:  # the library counts up to it whenever it writes the vocabulary
        raise DamagedFile(f"the tokenizer of {name}", f"it has a token with the id {last}.")
    add_tokens(library, added)
    decoder = json.loads(library.decoder.__getstate__()) if library.decoder is not None else None
    vocabulary: dict[str, int] = library.get_vocab(with_added_tokens=False)
    return codec_of(library, spelling_of(name, decoder), vocabulary.values())


def add_tokens(library: Tokenizer, added: AddedTokens) -> None:
    """Add tokens to a vocabulary; each that it does not have gets the next free id."""
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
    """Return the special token that the library itself would put before a text, if it puts one."""
    ids: list[int] = codec.library.encode("a").ids
    begins = len(ids) > len(codec.encode("a")) and ids[0] in codec.hidden
    return ids[0] if begins else None
