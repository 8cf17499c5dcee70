"""Encode a text in which some special tokens are escaped, with the library `tokenizers`.

The library finds special tokens in the text as it is, and normalizes the text between them afterwards. So a
character inside a special token hides it, and a normalizer that deletes the character leaves exactly the text
that the library sees with `encode_special_tokens`: everything else about the text, such as where it begins
and which tokens stand beside it, is as the library has it.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import attrs
from tokenizers import Tokenizer, normalizers

from litgpt.domain.special_tokens import ESCAPE

_NONCHARACTERS = tuple(map(chr, range(0xFDD0, 0xFDF0)))
"""Unicode reserves them for uses such as this one. (The library takes no lone surrogates.)"""


@attrs.define
class EscapedEncoding:
    """Encodes escaped texts with a copy of a tokenizer, made when it is first needed.

    Attributes:
        library: The tokenizer.
        special: The ids of its special tokens.

    """

    library: Tokenizer = attrs.field(repr=False)
    special: Collection[int] = attrs.field(repr=False)
    _copies: dict[str, Tokenizer] = attrs.field(factory=dict, init=False, repr=False)

    def encode(self, text: str) -> list[int]:
        """Return the ids of an escaped text: special tokens that are escaped are encoded as text."""
        # What is first in the text cannot complete a special token, and must stay first.
        text = text.lstrip(ESCAPE)
        stand_in = next(one for one in _NONCHARACTERS if one not in text)
        text = text.replace(ESCAPE, stand_in)
        if stand_in not in self._copies:
            self._copies[stand_in] = _ignoring(stand_in, self.library)
        found = self._copies[stand_in].encode(text, add_special_tokens=False)
        ids: list[int] = []
        for token, (start, stop) in zip(found.ids, found.offsets, strict=True):
            alone = stop - start == 1  # it has no middle, so what hides it stands before it
            if token in self.special and stand_in in text[max(start - alone, 0) : stop]:
                ids.extend(self._pieces(token))
            else:
                ids.append(token)
        return ids

    def _pieces(self, token: int) -> Iterator[int]:
        """Yield a special token, which the vocabulary has as a word like any other, in its parts."""
        written = self.library.id_to_token(token) or ""
        for part in (written[:-1], written[-1:]):
            yield from (piece.id for piece in self.library.model.tokenize(part)) if part else ()


def _ignoring(character: str, library: Tokenizer) -> Tokenizer:
    """Return a copy of a tokenizer that deletes a character after it has found the special tokens."""
    state: Mapping[str, Any] = json.loads(library.to_str())
    for token in state["added_tokens"]:
        # One that is looked for in the normalized text would be found there.
        token["normalized"] = token["normalized"] and not token["special"]
    copy = Tokenizer.from_str(json.dumps(state))
    delete = normalizers.Replace(character, "")
    others = copy.normalizer
    copy.normalizer = delete if others is None else normalizers.Sequence([delete, others])
    return copy
