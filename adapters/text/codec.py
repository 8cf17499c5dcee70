"""What the adapter of a tokenizer library answers; `CheckpointTokenizer` makes the port Tokenizer of it."""

from collections.abc import Mapping
from typing import Protocol


class Codec(Protocol):
    """A vocabulary, and how text is cut into its tokens. It knows no beginning, no end and no chat."""

    @property
    def size(self) -> int:
        """One more than the largest id of its vocabulary."""
        ...

    @property
    def learnt(self) -> int:
        """One more than the largest id that was not added to the vocabulary after it was learnt."""
        ...

    @property
    def leading_spaces(self) -> int:
        """How many spaces it puts before a text, to be taken away again."""
        ...

    @property
    def marked(self) -> Mapping[str, int]:
        """The tokens that are recognised wherever a text has them, such as `<|im_end|>`, with their ids."""
        ...

    @property
    def hidden(self) -> frozenset[int]:
        """The ids that are left out when ids become text."""
        ...

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, with nothing before and nothing after it.

        A special token that ESCAPE (domain/special_tokens.py) breaks apart is encoded as text.
        """
        ...

    def spell(self, token: int) -> bytes:
        """Return the bytes that a token stands for; none if the vocabulary has no token of this id."""
        ...

    def id_of(self, token: str) -> int | None:
        """Return the id of a token as its vocabulary writes it."""
        ...
