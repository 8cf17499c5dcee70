"""The vocabularies of tokenizers, as llguidance reads them."""

import weakref
from typing import TYPE_CHECKING

import attrs

from litgpt.domain.constraints.call_triggers import VocabularyTexts
from litgpt.domain.ports import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLTokenizer


@attrs.frozen(eq=False)
class Vocabulary:
    """The vocabulary of a tokenizer.

    Attributes:
        tokenizer: llguidance's form of it.
        texts: The texts of the tokens.
        encode: Returns the tokens of a text within an answer.
        end_id: An id beyond the vocabulary, which stands for the end of an answer.
    """

    tokenizer: "LLTokenizer"
    texts: VocabularyTexts
    encode: "_Tokens"
    end_id: int


@attrs.frozen
class Vocabularies:
    """The vocabularies of tokenizers, each of which is read once."""

    _known: "dict[int, tuple[weakref.ref[Tokenizer], Vocabulary]]" = attrs.field(
        factory=dict, init=False, repr=False
    )

    def __getitem__(self, tokenizer: Tokenizer) -> Vocabulary:
        key = id(tokenizer)
        known = self._known.get(key)
        if known is not None and known[0]() is tokenizer:
            return known[1]
        from llguidance import LLTokenizer, TokenizerWrapper

        tokens, size = _Tokens(tokenizer), tokenizer.vocab_size
        texts = VocabularyTexts(tokens.tokens[:size])
        vocabulary = Vocabulary(LLTokenizer(TokenizerWrapper(tokens)), texts, tokens, size)
        forget = weakref.ref(tokenizer, lambda _: self._known.pop(key, None))
        self._known[key] = forget, vocabulary
        return vocabulary


class _Tokens:
    """The vocabulary of a tokenizer, with the attributes that llguidance reads."""

    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer) -> None:
        size = tokenizer.vocab_size
        self.eos_token_id = size
        self.tokens = [*map(tokenizer.token_bytes, range(size)), b"<end>"]
        self.special_token_ids = [size]
        self._tokenizer = weakref.ref(tokenizer)  # the cache of vocabularies must not keep it
        self._ids = {text: token for token, text in enumerate(self.tokens[:size]) if text}
        self._longest = max(map(len, self._ids), default=0)

    def __call__(self, text: str) -> list[int]:
        """Return the tokens of a text within an answer, which llguidance prefers where only it can follow."""
        raw, tokenizer = text.encode(), self._tokenizer()
        if tokenizer is None:
            return self._longest_tokens(raw)
        for before in ("", "\n"):  # many tokenizers insert a space at the beginning, but not in a line
            ids = tokenizer.encode(before + text, bos=False)
            starts = range(min(len(ids), 3 if before else 1))
            for at in starts:
                if b"".join(self.tokens[token] for token in ids[at:]) == raw:
                    return ids[at:]
        return self._longest_tokens(raw)

    def _longest_tokens(self, text: bytes) -> list[int]:
        """Return tokens of a text from left to right, each the longest possible."""
        ids: list[int] = []
        at = 0
        while at < len(text):
            ends = range(min(len(text), at + self._longest), at, -1)
            end = next((end for end in ends if text[at:end] in self._ids), None)
            if end is None:
                break
            ids.append(self._ids[text[at:end]])
            at = end
        return ids
