"""Encode a text with escaped special tokens with the library `tokenizers`.

The library matches special tokens in the raw text and normalizes the text between them afterwards. A
character inside a special token prevents the match, and a normalizer removes the character again. The
result equals `encode_special_tokens` for the escaped tokens only, without splitting the text at them.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import attrs
from tokenizers import Tokenizer, normalizers

from litgpt.domain.chat.special_token_escapes import ESCAPE

_NONCHARACTERS = tuple(map(chr, range(0xFDD0, 0xFDF0)))
"""Reserved by Unicode for internal use. (The library does not accept lone surrogates.)"""


@attrs.define
class EscapedEncoding:
    """Encode escaped texts with lazily created copies of a tokenizer."""

    library: Tokenizer = attrs.field(repr=False)
    special_ids: Collection[int] = attrs.field(repr=False)
    _copies: dict[str, Tokenizer] = attrs.field(factory=dict, init=False, repr=False)

    def encode(self, text: str) -> list[int]:
        # A leading ESCAPE is not inside a special token, and would change the beginning of the text.
        text = text.lstrip(ESCAPE)
        stand_in = next(character for character in _NONCHARACTERS if character not in text)
        text = text.replace(ESCAPE, stand_in)
        if stand_in not in self._copies:
            self._copies[stand_in] = _copy_ignoring(stand_in, self.library)
        encoding = self._copies[stand_in].encode(text, add_special_tokens=False)
        ids: list[int] = []
        for token, (start, stop) in zip(encoding.ids, encoding.offsets, strict=True):
            alone = stop - start == 1  # a single character is escaped by ESCAPE before it
            if token in self.special_ids and stand_in in text[max(start - alone, 0) : stop]:
                ids.extend(self._pieces(token))
            else:
                ids.append(token)
        return ids

    def _pieces(self, token: int) -> Iterator[int]:
        """Yield the pieces of a special token that the model would also produce for plain text."""
        written = self.library.id_to_token(token) or ""
        for part in (written[:-1], written[-1:]):
            yield from (piece.id for piece in self.library.model.tokenize(part)) if part else ()


def _copy_ignoring(character: str, library: Tokenizer) -> Tokenizer:
    """Return a copy of a tokenizer that removes a character after matching special tokens."""
    state: Mapping[str, Any] = json.loads(library.to_str())
    for token in state["added_tokens"]:
        # A token that is matched in the normalized text would be found there.
        token["normalized"] = token["normalized"] and not token["special"]
    copy = Tokenizer.from_str(json.dumps(state))
    delete = normalizers.Replace(character, "")
    others = copy.normalizer
    copy.normalizer = delete if others is None else normalizers.Sequence([delete, others])
    return copy
