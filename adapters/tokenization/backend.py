"""The interface of a tokenizer library, on which `CheckpointTokenizer` builds."""

from collections.abc import Mapping
from typing import Protocol


class TokenizerBackend(Protocol):
    """A vocabulary and its tokenization, without BOS and EOS tokens and chat templates."""

    @property
    def vocab_size(self) -> int:
        """Largest id of the vocabulary, plus 1."""
        ...

    @property
    def base_vocab_size(self) -> int:
        """Largest id without added tokens, plus 1."""
        ...

    @property
    def leading_spaces(self) -> int:
        """Number of spaces that encoding inserts before a text and decoding removes."""
        ...

    @property
    def special_tokens(self) -> Mapping[str, int]:
        """Ids of the tokens that are matched anywhere in a text, such as `<|im_end|>`."""
        ...

    @property
    def skipped_ids(self) -> frozenset[int]:
        """Ids that decoding skips."""
        ...

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, without BOS and EOS tokens.

        A special token with ESCAPE (domain/chat/special_token_escapes.py) in it is encoded as plain text.
        """
        ...

    def to_bytes(self, token: int) -> bytes:
        """Return the bytes of a token; empty if the vocabulary does not have this id."""
        ...

    def token_to_id(self, token: str) -> int | None:
        """Return the id of a token of the vocabulary, or None."""
        ...
