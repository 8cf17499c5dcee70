"""The interface of a tokenizer library, on which `CheckpointTokenizer` builds."""

from collections.abc import Mapping
from typing import Protocol


class Codec(Protocol):
    """A vocabulary and its tokenization, without BOS and EOS tokens and chat templates."""

    @property
    def size(self) -> int:
        """Largest id of the vocabulary, plus 1."""
        ...

    @property
    def learnt(self) -> int:
        """Largest id without added tokens, plus 1."""
        ...

    @property
    def leading_spaces(self) -> int:
        """Number of spaces that encoding inserts before a text and decoding removes."""
        ...

    @property
    def marked(self) -> Mapping[str, int]:
        """Ids of the tokens that are matched anywhere in a text, such as `<|im_end|>`."""
        ...

    @property
    def hidden(self) -> frozenset[int]:
        """Ids that decoding skips."""
        ...

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without BOS and EOS tokens.

        A special token with ESCAPE (domain/special_tokens.py) in it is encoded as plain text.
        """
        ...

    def spell(self, token: int) -> bytes:
        """Return the bytes of a token; empty if the vocabulary does not have this id."""
        ...

    def id_of(self, token: str) -> int | None:
        """Return the id of a token of the vocabulary, or None."""
        ...
